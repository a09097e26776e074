# memory.dat -> memory.svg: peak memory against the length of the list; n: techniques of ours
set terminal svg size 760,420 font "sans-serif,12" background "white"
set output "memory.svg"
set logscale xy
set xlabel "URLs in the list"
set ylabel "peak RSS of all processes, MB"
set key outside right
set grid ytics
plot for [i = 2:n + 1] "memory.dat" using 1:i with linespoints lw 2 lc (i - 1) pt 7 ps 0.5 \
         title columnheader(i), \
     for [i = n + 2:2 * n + 1] "memory.dat" using 1:i with linespoints lw 2 dt 2 lc (i - n - 1) \
         pt 6 ps 0.5 title columnheader(i)

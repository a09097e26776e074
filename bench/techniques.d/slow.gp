# slow.dat -> slow.svg: throughput over time while 1 % of the URLs are slow; n: ours
set terminal svg size 760,560 font "sans-serif,12" background "white"
set output "slow.svg"
set xrange [0:30]
set yrange [0:]
set ylabel "objects a second"
set key top right
set grid ytics
set multiplot layout 2,1
set title "--pace"
plot for [i = 0:n - 1] "slow.dat" index i using 1:2 with lines lw 2 lc (i + 1) title columnheader(1)
set title "plain Python"
set xlabel "seconds"
plot for [i = n:2 * n - 1] "slow.dat" index i using 1:2 with lines lw 2 lc (i - n + 1) \
     title columnheader(1)
unset multiplot

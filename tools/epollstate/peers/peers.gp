# SPDX-License-Identifier: GPL-2.0
# Draw what scripts/peers has measured, in the directory of its results:
#   gnuplot -e "picture='calls'" peers.gp      also: instructions, wakes
set terminal pngcairo size 1200,675 font "sans,14" background "white"
set output picture.".png"
set border 3 lc rgb "#888888"
set tics nomirror textcolor rgb "#333333"
set grid ytics lc rgb "#dddddd"
set style data histograms
set style histogram rowstacked
set style fill solid 0.9 noborder
set boxwidth 0.7
set yrange [0:*]
set key outside right top Left reverse samplen 1.5 width 1

if (picture eq "calls") {
	set title "System calls per MiB relayed to 8 slow consumers" font ",18"
	plot "calls.dat" using 2:xtic(1) lc rgb "#1b6ca8" title "recv, send", \
	     "" using 3 lc rgb "#9ecae1" title "wait", \
	     "" using 4 lc rgb "#d1495b" title "EAGAIN", \
	     "" using 5 lc rgb "#7b2d3b" title "probe for the end", \
	     "" using 6 lc rgb "#edae49" title "epoll\\_ctl", \
	     "" using 7 lc rgb "#8d6a9f" title "FIONREAD"
}
if (picture eq "instructions") {
	set title "Server instructions per request: 64 bytes asked and answered, 64 connections" \
		font ",18"
	set format y "%.0f"
	plot "instructions.dat" using 2:xtic(1) lc rgb "#edae49" title "user", \
	     "" using 3 lc rgb "#1b6ca8" title "kernel", \
	     "" using 0:($2 + $3):(sprintf("%.0f", $2 + $3)) with labels offset 0,0.7 notitle
}
if (picture eq "wakes") {
	set title "One slow connection through a relay: when each peer woke up" font ",18"
	set key outside below center horizontal
	names = system("grep '^\"' wakes.dat | tr -d '\"' | tr '\\n' ' '")
	n = words(names)
	set xlabel "milliseconds"
	set xrange [0:*]
	set yrange [0.4:n + 0.6]
	set grid noytics xtics lc rgb "#dddddd"
	set ytics ()
	do for [i = 1:n] { set ytics add (word(names, i) n - i + 1) }
	plot for [i = 0:n - 1] "wakes.dat" index i using ($4 == 0 ? $1 : NaN):2 \
		with points pt 7 ps 0.9 lc rgb "#1b6ca8" title i ? "" : "woke up", \
	     for [i = 0:n - 1] "wakes.dat" index i using ($4 == 1 ? $1 : NaN):($2 - 0.22) \
		with points pt 9 ps 0.9 lc rgb "#d1495b" title i ? "" : "wasted a system call"
}

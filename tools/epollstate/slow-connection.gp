# SPDX-License-Identifier: GPL-2.0
# Draw one connection over time, as "make run" has recorded it:
#   gnuplot -e "csv='records.csv'; out='slow-connection'" slow-connection.gp
# writes slow-connection.svg and slow-connection.png; conn=N picks another one.
if (!exists("csv")) csv = "records.csv"
if (!exists("out")) out = "slow-connection"
if (!exists("conn")) conn = 1

set datafile separator ","
set datafile missing NaN
# Only this connection's rows: the records, and what the server had stored after
# its own reads and writes.  A step holds until the next row.
kib(col) = (column(2) == conn ? column(col) / 1024.0 : NaN)
stats csv using (column(2) == conn ? column(1) : NaN) nooutput
first = STATS_min

set xlabel "seconds"
set xrange [0:*]
set yrange [0:*]
set grid lc rgb "#dddddd"
set border 3 lc rgb "#888888"
set tics nomirror textcolor rgb "#333333"
set key above left samplen 2 Left reverse
set lmargin 9
set style line 1 lc rgb "#1b6ca8" lw 2
set style line 2 lc rgb "#2a9d4a" lw 2
set style line 3 lc rgb "#d1495b" lw 2

plots = "svg png"
do for [kind in plots] {
	if (kind eq "svg") {
		set terminal svg size 1000,640 font "sans,13" background "white"
	} else {
		set terminal pngcairo size 1000,640 font "sans,11" background "white"
	}
	set output out.".".kind
	set multiplot layout 2,1 title "An echo connection whose peer drains slowly, as its EPOLLSTATE records tell it\n"
	set ylabel "KiB"
	set xlabel ""
	plot csv using (column(1) - first):(kib(7)) with steps ls 3 title "outq: sent, not acknowledged", \
	     csv using (column(1) - first):(kib(6)) with steps ls 2 title "snd: can be sent"
	set xlabel "seconds"
	plot csv using (column(1) - first):(kib(5)) with steps ls 1 title "rcv: can be received (waits in the kernel while snd is 0)"
	unset multiplot
	unset output
}

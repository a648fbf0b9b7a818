taskset -c 0 python docs/code/shout.py &
taskset -c 1 python -m benchmarks.ask 9999 $! --work lines --connections 64 --seconds 5
kill -INT $!

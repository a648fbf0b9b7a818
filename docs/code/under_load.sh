python shout.py &
sleep 1
python under_load.py 9999 &
sleep 2
kill -TERM %1
wait

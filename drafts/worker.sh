c=$1
export CITYSEG_HOME=/tmp/try/home PYTHONPATH=/tmp/run CITYSEG_PRECISION=float32 TF_CPP_MIN_LOG_LEVEL=3
P="taskset -c $c /work/main/.venv/bin/python -u"
cd /tmp/run
while true; do
  J=$(flock jobs.lock bash -c 'head -1 jobs.txt; sed -i 1d jobs.txt')
  [ -z "$J" ] && break
  echo "$(date +%T) core $c: $J" >> jobs.log
  eval "$P $J" >> out$c.log 2>&1
  echo "$(date +%T) core $c: ended $?: $J" >> jobs.log
done

# The hosts of an emulated cluster and their links, for scripts/cluster, which sets name, prefix, switch, state, network and home and then
# sources this: shaping links, slowing hosts down, making them and taking them away.

# --- Links

# Bits per second of a rate, 0 for none.
bits() {
  [ "$1" = none ] && { echo 0; return; }
  [[ $1 =~ ^([1-9][0-9]{0,5})(kbit|mbit|gbit)$ ]] || fail "a rate is a number with kbit, mbit or gbit (100mbit), or none, not '$1'"
  local -A unit=([kbit]=1000 [mbit]=1000000 [gbit]=1000000000)
  echo $((BASH_REMATCH[1] * unit[${BASH_REMATCH[2]}]))
}

clamped() { echo $(($1 < $2 ? $2 : $1 > $3 ? $3 : $1)); }

# Shapes what an interface sends: shape NAMESPACE INTERFACE BITS
shape() {
  if [ "$3" -eq 0 ]; then
    tc -n "$1" qdisc delete dev "$2" root 2> /dev/null || true
    ip -n "$1" link set "$2" gso_max_size 65536
    return
  fi
  # The bucket holds a quarter of a millisecond, the queue behind it 20 ms.
  local burst queue segment
  burst=$(clamped $(($3 / 8 / 4000)) 6000 262144)
  queue=$(clamped $(($3 / 8 / 50)) 262144 4194304)
  # A packet that does not fit in the bucket is cut into frames, which costs the processor more than the work that is measured.
  segment=$(clamped $((burst * 9 / 10)) 5000 65536)
  ip -n "$1" link set "$2" gso_max_size "$segment"
  tc -n "$1" qdisc replace dev "$2" root tbf rate "${3}bit" burst "$burst" limit "$queue" ||
    fail "the kernel cannot shape links (queueing discipline tbf)"
}

# Sets both directions of the link of host number $1 to $2 bits per second.
set_rate() {
  shape "$prefix-node$1" eth0 "$2"
  shape "$switch" "port$1" "$2"
}

# --- Slow hosts: a quota of processor time

# The control group of a host; empty where the kernel cannot limit processor time.
group_of() {
  if [ -e /sys/fs/cgroup/cpu/cgroup.procs ]; then
    echo "/sys/fs/cgroup/cpu/$1"
  elif grep -qsw cpu /sys/fs/cgroup/cgroup.subtree_control; then
    echo "/sys/fs/cgroup/$1"
  fi
}

# Puts this shell and what it starts under the quota of a host.
join_group() {
  local group
  group=$(group_of "$1")
  [ -z "$group" ] || [ ! -d "$group" ] || echo "$BASHPID" > "$group/cgroup.procs"
}

# --- Hosts

# The cores of this machine; the threads that a program is told to use are no matter.
core_count() { env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc; }

# Gives this shell, and what it starts, to a host: its part of a core and its cores.
confine() {
  local first list=() index
  join_group "$1"
  index=$(cat "$state/cores")
  [ "$index" -lt "$(core_count)" ] || return 0
  first=$(((${1##*node} - 1) * index))
  while [ "$index" -gt 0 ]; do
    index=$((index - 1))
    list+=($(((first + index) % $(core_count))))
  done
  taskset --cpu-list --pid "$(IFS=,; echo "${list[*]}")" "$BASHPID" > /dev/null
}

# What a host does before its sshd becomes its first process. Names and memory of its own, no greeting from the user's shell.
boot_script='
set -e
echo "$1" > /proc/sys/kernel/hostname
mount --make-rprivate /
mount -t tmpfs tmpfs /dev/shm
mkdir /dev/shm/state
mount --bind "$2" /dev/shm/state
mount -t tmpfs tmpfs /run
mkdir -p "$2" /run/sshd
mount --move /dev/shm/state "$2"
rmdir /dev/shm/state
mount --bind "$2/hosts" /etc/hosts
for file in /root/.bashrc /root/.profile /root/.bash_profile; do [ ! -e "$file" ] || mount --bind "$2/empty" "$file"; done
exec "$3" -D -e -f "$2/sshd_config"
'

# Starts the processes of a host: its sshd, and nothing else.
boot() {
  local host=$1
  (
    confine "$prefix-$host"
    exec setsid ip netns exec "$prefix-$host" unshare --uts --ipc --pid --mount --mount-proc --fork --kill-child \
      bash -c "$boot_script" boot "$host" "$state" "$(command -v sshd)"
  ) < /dev/null > "$state/$host.log" 2>&1 &
}

# Waits until the sshd of a host listens.
await_boot() {
  local turn
  for turn in {1..200}; do
    grep -qs 'Server listening' "$state/$1.log" && return
    sleep 0.05
  done
  fail "$1 did not boot: $(tail -n 3 "$state/$1.log" 2> /dev/null)"
}

write_settings() {
  local count=$1 number
  mkdir -m 700 "$state/ssh"
  ssh-keygen -q -t ed25519 -N '' -f "$state/ssh/user"
  ssh-keygen -q -t ed25519 -N '' -f "$state/ssh/host"
  : > "$state/empty"
  echo '127.0.0.1 localhost' > "$state/hosts"
  for ((number = 1; number <= count; number++)); do echo "$network.$number node$number" >> "$state/hosts"; done
  cat > "$state/sshd_config" << END
HostKey $state/ssh/host
AuthorizedKeysFile $state/ssh/user.pub
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
PidFile none
MaxStartups 1000
END
  cat > "$state/ssh_config" << END
Host node*
  User root
  IdentityFile $state/ssh/user
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
END
}

# Makes the namespace of host number $1, its interface and the port of the switch.
plug_in() {
  local host=$prefix-node$1
  ip netns add "$host"
  # Loss is rare here, and Reno needs no leave: other algorithms may be forbidden in new namespaces.
  ip netns exec "$host" sysctl --quiet --write net.ipv4.tcp_congestion_control=reno net.ipv4.tcp_no_metrics_save=1 \
    net.ipv6.conf.all.disable_ipv6=1
  ip -n "$switch" link add "port$1" type veth peer name eth0 netns "$host"
  ip -n "$host" link set lo up
  ip -n "$host" address add "$network.$1/24" dev eth0
  ip -n "$host" link set eth0 up
  ip -n "$switch" link set "port$1" master bridge up
}

up() {
  local count=${1:-} rate=1gbit slots=1 cores=$(core_count) rate_bits number
  [[ $count =~ ^[1-9][0-9]?$ ]] && [ "$count" -le 64 ] || fail "up needs the number of hosts, 1 to 64"
  shift
  while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || fail "$1 needs a value"
    case $1 in
      --rate) rate=$2 ;;
      --slots) slots=$2 ;;
      --cores) cores=$2 ;;
      *) fail "up knows --rate, --slots and --cores, not '$1'" ;;
    esac
    shift 2
  done
  rate_bits=$(bits "$rate")
  [[ $slots =~ ^[1-9][0-9]?$ ]] || fail "--slots is a number of ranks, not '$slots'"
  [[ $cores =~ ^[1-9][0-9]*$ ]] && [ "$cores" -le "$(core_count)" ] ||
    fail "--cores is a number of cores, at most the $(core_count) of this machine, not '$cores'"
  # Whoever makes the directory makes the cluster.
  mkdir -p -m 700 "$(dirname "$state")"
  if exists || ! mkdir -m 700 "$state" 2> /dev/null; then
    fail "cluster '$name' is up already, or was left by a crash; end it by scripts/cluster down, or give this one another name"
  fi
  trap remove EXIT
  write_settings "$count"
  print_hostfile "$count" "$slots" > "$state/hostfile"
  echo "$cores" > "$state/cores"

  ip netns add "$switch"
  ip netns exec "$switch" sysctl --quiet --write net.ipv6.conf.all.disable_ipv6=1
  ip -n "$switch" link add bridge type bridge
  ip -n "$switch" link set bridge up
  for ((number = 1; number <= count; number++)); do
    plug_in "$number"
    set_rate "$number" "$rate_bits"
    boot "node$number"
  done
  for ((number = 1; number <= count; number++)); do await_boot "node$number"; done
  trap - EXIT
  echo "cluster '$name': $count hosts, links of $rate"
}

# Ends whatever lives in the namespaces of this cluster, and removes them.
remove() {
  local host process turn group
  for host in $(namespaces) $(ip netns list | grep -oE "^$switch( |$)"); do
    # The first process takes all others of its host with it; what the user started may have none above it.
    for turn in {1..100}; do
      process=$(ip netns pids "$host")
      [ -n "$process" ] || break
      # shellcheck disable=SC2086 # several numbers
      kill -KILL $process 2> /dev/null || true
      sleep 0.05
    done
    ip netns delete "$host"
    group=$(group_of "$host")
    for turn in {1..100}; do
      [ -n "$group" ] && [ -d "$group" ] || break
      rmdir "$group" 2> /dev/null || sleep 0.05
    done
  done
  rm -rf "$state"
  rmdir "$(dirname "$state")" 2> /dev/null || true
}

down() {
  if ! exists && [ ! -d "$state" ]; then
    echo "cluster '$name' is not up"
    return
  fi
  remove
  echo "cluster '$name' is down"
}

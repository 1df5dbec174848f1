#!/usr/bin/env bash
# Runs a real ZooKeeper ensemble for tests: own folder, own ports, nothing left behind.
#
#   zookeeper.sh start DIR [NODES]    installs the package if missing, starts NODES (default 3, or 1) nodes whose files are
#                                     all in DIR, waits until the ensemble serves, prints its connect string
#   zookeeper.sh connect DIR          prints the connect string
#   zookeeper.sh leader DIR           prints the index (1..NODES) of the node that leads, once there is one
#   zookeeper.sh kill DIR INDEX       kill -9 of one node
#   zookeeper.sh revive DIR INDEX     starts a killed node again (does not wait; see wait)
#   zookeeper.sh pause DIR INDEX      SIGSTOP: it keeps its connections and says nothing
#   zookeeper.sh cont DIR INDEX       SIGCONT
#   zookeeper.sh wait DIR             waits until every node serves
#   zookeeper.sh wipe DIR             removes all data; only while all nodes are killed
#   zookeeper.sh ask DIR INDEX WORD   asks one node by a four-letter word: srvr, mntr or ruok
#   zookeeper.sh stop DIR             ends all nodes and removes DIR
#
# Environment: ZOOKEEPER_PORTS="c1 q1 e1 c2 q2 e2 ..." (client, quorum, election port of each node; default: free ones are
# looked for), ZOOKEEPER_HOSTS="127.0.0.1 127.0.0.2 ..." (default 127.0.0.1 for all), ZOOKEEPER_NETNS="a b c" (a named network
# namespace for each node), ZOOKEEPER_DEADLINE (seconds, 60), ZOOKEEPER_DISK_MB (a memory file system of this size for each node:
# a disk that can be filled; needs the right to mount), ZOOKEEPER_FORCE_SYNC=yes (wait for the disk at each write, as in production).
# Only the connect string (or index) goes to standard output; everything else goes to standard error.

set -euo pipefail

readonly MAIN=org.apache.zookeeper.server.quorum.QuorumPeerMain
readonly JAR=/usr/share/java/zookeeper.jar
readonly MARK=.carillon-zookeeper # only a folder that holds this file is ever removed
readonly DEADLINE=${ZOOKEEPER_DEADLINE:-60}

say() { echo "zookeeper.sh: $*" >&2; }
die() { say "$*"; exit 1; }

install_if_missing() {
    if [[ -e $JAR ]] && command -v java >/dev/null; then return; fi
    command -v apt-get >/dev/null || die "needs Apache ZooKeeper (Debian package: zookeeper) and Java; please install them"
    [[ $(id -u) == 0 ]] || die "needs the package zookeeper; as root: apt-get install -y --no-install-recommends zookeeper"
    say "installing the package zookeeper"
    (
        flock 9
        [[ -e $JAR ]] && command -v java >/dev/null && exit 0
        export DEBIAN_FRONTEND=noninteractive
        apt-get install -y --no-install-recommends zookeeper >&2 ||
            { apt-get update >&2 && apt-get install -y --no-install-recommends zookeeper >&2; }
    ) 9>/tmp/carillon-zookeeper-install.lock
    [[ -e $JAR ]] || die "the package was installed, but $JAR is not there"
}

# Ports with a listener, in the kernel's notation (hexadecimal), IPv4 and IPv6.
listening() { awk '$4 == "0A" { sub(".*:", "", $2); print $2 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null; }

# Prints $1 port numbers in a row that nobody listens on, below the range the kernel gives to outgoing connections.
free_ports() {
    local count=$1 taken base port try
    taken=" $(listening | tr '\n' ' ')"
    for try in {1..50}; do
        base=$((20000 + RANDOM % 1100 * 10))
        for ((port = base; port < base + count; port++)); do
            [[ $taken == *" $(printf %04X "$port") "* ]] && continue 2
        done
        seq "$base" $((base + count - 1))
        return
    done
    die "found no $count free ports in a row"
}

write_config() {
    local dir=$1 nodes=$2 index ports hosts
    read -ra ports <<<"${ZOOKEEPER_PORTS:-$(free_ports $((nodes * 3)) | tr '\n' ' ')}"
    ((${#ports[@]} >= nodes * 3)) || die "ZOOKEEPER_PORTS must name three ports for each of the $nodes nodes"
    read -ra hosts <<<"${ZOOKEEPER_HOSTS:-}"
    printf '%s\n' 'log4j.rootLogger=INFO, out' 'log4j.appender.out=org.apache.log4j.ConsoleAppender' \
        'log4j.appender.out.layout=org.apache.log4j.PatternLayout' \
        'log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %-5p %c{1}: %m%n' >"$dir/log4j.properties"
    : >"$dir/nodes"
    for ((index = 1; index <= nodes; index++)); do
        echo "$index ${hosts[index - 1]:-127.0.0.1} ${ports[*]:(index - 1) * 3:3}" >>"$dir/nodes"
    done
    local members="" host client quorum election
    if ((nodes > 1)); then
        while read -r index host client quorum election; do
            members+="server.$index=$host:$quorum:$election"$'\n'
        done <"$dir/nodes"
    fi
    while read -r index host client quorum election; do
        if mountpoint -q "$dir/node-$index"; then umount "$dir/node-$index"; fi
        rm -rf "$dir/node-$index"
        mkdir -p "$dir/node-$index"
        [[ -z ${ZOOKEEPER_DISK_MB:-} ]] || mount -t tmpfs -o "size=${ZOOKEEPER_DISK_MB}m" none "$dir/node-$index"
        mkdir -p "$dir/node-$index/data"
        echo "$index" >"$dir/node-$index/data/myid"
        # Two ticks (1 s) to twenty (10 s) are the session timeouts a client can get. A leader that is silent for
        # syncLimit ticks (2 s) is given up, so that a failover fits into a test.
        cat >"$dir/node-$index/zoo.cfg" <<CONFIG
tickTime=500
initLimit=20
syncLimit=4
dataDir=$dir/node-$index/data
clientPortAddress=$host
clientPort=$client
maxClientCnxns=0
autopurge.purgeInterval=0
admin.enableServer=false
4lw.commands.whitelist=srvr,ruok,mntr
$members
CONFIG
    done <"$dir/nodes"
}

start_node() {
    local dir=$1 index=$2 node="$1/node-$2" networks within=()
    if alive "$dir" "$index"; then return; fi
    read -ra networks <<<"${ZOOKEEPER_NETNS:-}"
    [[ -z ${networks[index - 1]:-} ]] || within=(nsenter "--net=/run/netns/${networks[index - 1]}" --)
    # Compiling little and collecting serially starts fastest on a small machine. Without forceSync a kill -9 loses nothing
    # (the page cache survives it), and the disk does not dominate the tests.
    "${within[@]}" setsid java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "-Dzookeeper.forceSync=${ZOOKEEPER_FORCE_SYNC:-no}" \
        -Dzookeeper.preAllocSize=1024 -Dlog4j.configuration="file:$dir/log4j.properties" \
        -cp "$dir:$JAR" "$MAIN" "$node/zoo.cfg" >>"$node/log" 2>&1 </dev/null 9>&- &
    echo $! >"$node/pid"
    disown
}

# The process id of a node, if that process is (still) this node and not a zombie.
pid_of() {
    local node="$1/node-$2" pid
    pid=$(cat "$node/pid" 2>/dev/null) || return 1
    [[ $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) == *"$node/zoo.cfg"* ]] && echo "$pid"
}

alive() { pid_of "$1" "$2" >/dev/null; }

signal() {
    local pid
    pid=$(pid_of "$2" "$3") || die "node $3 of $2 is not running"
    kill "-$1" "$pid"
}

# The answer to a four-letter word; nothing while there is none.
ask() { timeout 2 bash -c "exec 3<>/dev/tcp/$1/$2 && echo $3 >&3 && cat <&3" 2>/dev/null || true; }

# What a node says it is: leader, follower or standalone; nothing while it does not serve.
mode() { ask "$1" "$2" srvr | sed -n 's/^Mode: //p'; }

wait_until_serving() {
    local dir=$1 index host client rest until=$((SECONDS + DEADLINE))
    while read -r index host client rest; do
        until [[ -n $(mode "$host" "$client") ]]; do
            # On a busy machine the process may be there and not have become the node yet.
            alive "$dir" "$index" || kill -0 "$(cat "$dir/node-$index/pid")" 2>/dev/null || { say "node $index ended:"; tail -n 5 "$dir/node-$index/log" >&2; return 1; }
            ((SECONDS < until)) || { say "node $index does not serve after $DEADLINE s"; return 1; }
            sleep 0.1
        done
    done <"$dir/nodes"
}

connect_string() { awk '{ printf "%s%s:%s", (NR > 1 ? "," : ""), $2, $3 } END { print "" }' "$1/nodes"; }

leader() {
    local index host client rest until=$((SECONDS + DEADLINE))
    while ((SECONDS < until)); do
        while read -r index host client rest; do
            case $(mode "$host" "$client") in leader | standalone) echo "$index" && return ;; esac
        done <"$1/nodes"
        sleep 0.1
    done
    die "no node leads"
}

end_all() {
    local dir=$1 index rest pid pids=()
    [[ -e $dir/nodes ]] || return 0
    while read -r index rest; do
        if pid=$(pid_of "$dir" "$index"); then
            kill -KILL "$pid" 2>/dev/null || true
            pids+=("$index")
        fi
    done <"$dir/nodes"
    for index in "${pids[@]}"; do
        while alive "$dir" "$index"; do sleep 0.05; done
    done
}

start() {
    local dir=$1 nodes=$2 try
    [[ $nodes == 1 || $nodes == 3 || $nodes == 5 ]] || die "an ensemble has 1, 3 or 5 nodes"
    if [[ -e $dir && ! -e $dir/$MARK && -n $(ls -A "$dir") ]]; then die "$dir holds something else; give a folder of its own"; fi
    install_if_missing
    mkdir -p "$dir"
    touch "$dir/$MARK"
    end_all "$dir"
    for try in 1 2 3; do # somebody else may take a port between looking and listening
        write_config "$dir" "$nodes"
        for ((index = 1; index <= nodes; index++)); do start_node "$dir" "$index"; done
        if wait_until_serving "$dir"; then connect_string "$dir" && return; fi
        end_all "$dir"
    done
    die "the ensemble does not start; its logs are in $dir/node-*/log"
}

wipe() {
    local dir=$1 index rest
    while read -r index rest; do
        alive "$dir" "$index" && die "node $index is running"
        rm -rf "$dir/node-$index/data/version-2"
    done <"$dir/nodes"
}

stop() {
    local dir=$1
    [[ -e $dir ]] || return 0
    [[ -e $dir/$MARK ]] || die "$dir was not made by this script"
    end_all "$dir"
    local node
    for node in "$dir"/node-*; do
        if mountpoint -q "$node"; then umount "$node"; fi
    done
    rm -rf "$dir"
}

command=${1:-help}
[[ $command == help || -n ${2:-} ]] || die "which folder? see the head of this file"
[[ -z ${2:-} ]] || dir=$(realpath -m "$2")
index=${3:-}
case $command in
    start) start "$dir" "${index:-3}" ;;
    stop) stop "$dir" ;;
    connect) connect_string "$dir" ;;
    leader) leader "$dir" ;;
    wait) wait_until_serving "$dir" ;;
    kill)
        signal KILL "$dir" "$index"
        while alive "$dir" "$index"; do sleep 0.05; done
        ;;
    revive) start_node "$dir" "$index" ;;
    wipe) wipe "$dir" ;;
    ask) ask $(awk -v index_="$index" '$1 == index_ { print $2, $3 }' "$dir/nodes") "${4:-srvr}" ;;
    pause) signal STOP "$dir" "$index" ;;
    cont) signal CONT "$dir" "$index" ;;
    *) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" ;;
esac

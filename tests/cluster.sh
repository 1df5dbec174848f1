#!/usr/bin/env bash
# A whole cluster on this machine, from the same binaries as everywhere: three ZooKeepers, MariaDB, three servers in three
# machine rooms, three consoles behind nginx, two workers.
#
#   cluster.sh start              builds the release binaries and starts everything; the last line is the URL
#   cluster.sh status             which processes run, who owns the samples' shard, how late its last runs were
#   cluster.sh watch              the same each second, until Ctrl-C
#   cluster.sh kill NAME          kill -9 of server-1, console-2, worker-1, nginx, zookeeper-1, mariadb ...
#   cluster.sh stop-gently NAME   SIGTERM: a server hands over, a worker drains
#   cluster.sh revive NAME        starts it again
#   cluster.sh pause NAME         SIGSTOP: it keeps its connections and says nothing
#   cluster.sh resume NAME        SIGCONT
#   cluster.sh owner              the server that owns the samples' shard
#   cluster.sh stop               ends everything and deletes its data
#
# "owner" stands for the server that owns the samples' shard: cluster.sh kill owner. Cutting the network between any two needs namespaces, which
# `make ha` has: make ha CASES=F5,F6,F7,F8,F9,F10.
#
# Everything is below CLUSTER_DIR (default ./carillon-cluster), the logs too. Ports: nginx 7700, consoles 7701 to 7703, servers
# 7711 to 7713; BASE_PORT=8800 moves them all by as much. BIN_DIR (default target/release) holds the binaries.

set -euo pipefail
cd "$(dirname "$0")/.."

readonly DIR=$(realpath -m "${CLUSTER_DIR:-carillon-cluster}")
readonly BASE=${BASE_PORT:-7700}
readonly BIN=$(realpath -m "${BIN_DIR:-target/release}")
readonly MARK=.carillon-cluster # only a folder that holds this file is ever removed
readonly URL=http://127.0.0.1:$BASE
readonly WORKER=$BIN/${WORKER_BINARY:-samples}

say() { printf '%s\n' "$*"; }
die() { printf 'cluster.sh: %s\n' "$*" >&2; exit 1; }

# The environment of every process: the one configuration of the cluster.
environment() {
    export CARILLON_CLUSTER_ID=101 CARILLON_LOGS_FORMAT=text
    CARILLON_CLUSTER_SECRET=$(cat "$DIR/secret")
    CARILLON_STORE_URL=$(cat "$DIR/store.url")
    CARILLON_ZOOKEEPER_CONNECT=$(cat "$DIR/zookeeper.connect")
    export CARILLON_CLUSTER_SECRET CARILLON_STORE_URL CARILLON_ZOOKEEPER_CONNECT
}

# Starts one process by its name, in the background, with its log and its pid in the folder.
launch() {
    local name=$1 number=${1##*-} command
    case $name in
        server-*)
            local rooms=(- room-a room-b room-c)
            command=("$BIN/carillon" server --id "$name" --room "${rooms[number]}" --listen "127.0.0.1:$((BASE + 10 + number))")
            ;;
        console-*) command=("$BIN/carillon" console --set console.trusted_proxies=127.0.0.1 --listen "127.0.0.1:$((BASE + number))") ;;
        worker-*) command=("$WORKER") ;;
        nginx) command=("$(nginx_binary)" -c "$DIR/nginx.conf" -p "$DIR" -e "$DIR/nginx.log") ;;
        *) die "there is no process $name; there are server-1..3, console-1..3, worker-1..2, nginx" ;;
    esac
    (
        if [[ $name == worker-* ]]; then
            export CARILLON_CONSOLES=$URL CARILLON_WORKER_NAME=$name
            CARILLON_GROUP=$(cat "$DIR/group")
            CARILLON_TOKEN=$(cat "$DIR/worker.token")
            export CARILLON_GROUP CARILLON_TOKEN
        else
            environment
        fi
        exec setsid "${command[@]}" >>"$DIR/$name.log" 2>&1 </dev/null
    ) &
    echo $! >"$DIR/$name.pid"
    disown
}

nginx_binary() { command -v nginx || { [[ -x /usr/sbin/nginx ]] && echo /usr/sbin/nginx; } || die "needs the Debian package nginx"; }

# The pid of a process, if it is still the one that was started from here and no zombie.
pid_of() {
    local pid
    pid=$(cat "$DIR/$1.pid" 2>/dev/null) || return 1
    [[ -r /proc/$pid/environ && -n $(tr -d '\0' <"/proc/$pid/cmdline" 2>/dev/null) ]] && echo "$pid"
}

# Waits for a command to succeed, for at most $1 seconds.
wait_for() {
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < until)) || die "$what is not there; see the logs in $DIR"
        sleep 0.1
    done
}

write_nginx() {
    # The same file as in docker-compose.yml, with this machine's addresses.
    {
        echo "worker_processes 1; pid $DIR/nginx.own.pid; daemon off;"
        echo "events { worker_connections 1024; }"
        echo "http {"
        echo "access_log off;"
        local kind
        for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $DIR/nginx-$kind;"; done
        sed -E "s/console-([0-9]):7700/127.0.0.1:@\1/; s/listen 7700;/listen 127.0.0.1:$BASE;/" deploy/nginx/carillon.conf |
            sed -e "s/@1/$((BASE + 1))/" -e "s/@2/$((BASE + 2))/" -e "s/@3/$((BASE + 3))/"
        echo "}"
    } >"$DIR/nginx.conf"
}

start() {
    [[ ! -e $DIR ]] || die "$DIR is there already; cluster.sh stop ends it"
    [[ -n ${BIN_DIR:-} ]] || cargo build --release --quiet -p carillon -p carillon-examples --bins
    mkdir -p "$DIR" && chmod 700 "$DIR" && touch "$DIR/$MARK"
    trap 'say "it did not start; the logs are in $DIR (cluster.sh stop removes them)" >&2' ERR
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$DIR/secret"
    say "ZooKeeper and MariaDB ..."
    tests/services/zookeeper.sh start "$DIR/zookeeper" >"$DIR/zookeeper.connect"
    tests/services/mariadb.sh start "$DIR/mariadb" >"$DIR/store.url"
    (environment && "$BIN/carillon" migrate)
    say "servers, consoles and nginx ..."
    write_nginx
    local name
    for name in server-{1..3} console-{1..3} nginx; do launch "$name"; done
    wait_for 30 "a console behind nginx" "$BIN/carillon" healthcheck --http "$URL/livez"
    (umask 077 && environment && "$BIN/carillon" admin-token >"$DIR/admin.token")
    export CARILLON_CONSOLE=$URL
    CARILLON_TOKEN=$(cat "$DIR/admin.token")
    export CARILLON_TOKEN
    "$BIN/carillon" apply -f examples/samples.yaml
    "$BIN/carillon" group get samples -o id >"$DIR/group"
    (umask 077 && "$BIN/carillon" token create samples-workers --worker-of samples >"$DIR/worker.token")
    say "workers ..."
    for name in worker-{1..2}; do launch "$name"; done
    wait_for 30 "a server" "$BIN/carillon" job trigger samples/hello
    say "an administrator's token is in $DIR/admin.token; CARILLON_CONSOLE=$URL"
    say "try: tests/cluster.sh kill server-1; tests/cluster.sh status; tests/cluster.sh revive server-1"
    say "$URL"
}

# The arguments to a script of tests/services for a service's name: zookeeper-2 -> zookeeper.sh ... 2.
service() {
    local verb=$1 name=$2
    case $name in
        zookeeper-[1-3]) tests/services/zookeeper.sh "$verb" "$DIR/zookeeper" "${name##*-}" ;;
        mariadb) tests/services/mariadb.sh "$verb" "$DIR/mariadb" ;;
        *) return 1 ;;
    esac
}

is_service() { [[ $1 == zookeeper-[1-3] || $1 == mariadb ]]; }

# Asks the console as the administrator.
ask() {
    CARILLON_CONSOLE=$URL CARILLON_TOKEN=$(cat "$DIR/admin.token") "$BIN/carillon" "$@"
}

owner() { ask shard list | awk 'NR == 2 { print $2 }'; }

# A name, with "owner" replaced by the one it stands for.
named() {
    local name=${1:?which process? see cluster.sh help}
    if [[ $name != owner ]]; then echo "$name" && return; fi
    name=$(owner) && [[ -n $name ]] || die "nobody says who the owner is"
    say "the owner is $name" >&2
    echo "$name"
}

send() {
    local signal=$1 name=$2 verb=$3 pid
    if is_service "$name"; then service "$verb" "$name" && return; fi
    pid=$(pid_of "$name") || die "$name does not run"
    kill "-$signal" "$pid"
}

watch() {
    while true; do
        clear
        date
        status || true
        sleep 1
    done
}

status() {
    local file name
    for file in "$DIR"/*.pid; do
        name=$(basename "$file" .pid)
        [[ $name != nginx.own ]] || continue
        if pid=$(pid_of "$name"); then
            if [[ $(sed 's/.*) //; s/ .*//' "/proc/$pid/stat" 2>/dev/null) == T ]]; then say "$name stands still ($pid)"; else say "$name runs ($pid)"; fi
        else
            say "$name is down"
        fi
    done
    export CARILLON_CONSOLE=$URL CARILLON_TOKEN
    CARILLON_TOKEN=$(cat "$DIR/admin.token")
    timeout 3 "$BIN/carillon" shard list || say "no console answers"
    timeout 3 "$BIN/carillon" run list --limit 8 || true
}

stop() {
    [[ -e $DIR ]] || return 0
    [[ -e $DIR/$MARK ]] || die "$DIR was not made by this script"
    local name pid
    # Workers leave first, so that they can say goodbye.
    for name in worker-{1..2} nginx console-{1..3} server-{1..3}; do
        if pid=$(pid_of "$name"); then kill -TERM "$pid" 2>/dev/null || true; fi
    done
    local until=$((SECONDS + 15))
    for name in worker-{1..2} nginx console-{1..3} server-{1..3}; do
        while pid=$(pid_of "$name") && ((SECONDS < until)); do sleep 0.1; done
        if pid=$(pid_of "$name"); then kill -KILL "$pid" 2>/dev/null || true; fi
    done
    [[ ! -e $DIR/mariadb ]] || tests/services/mariadb.sh stop "$DIR/mariadb"
    [[ ! -e $DIR/zookeeper ]] || tests/services/zookeeper.sh stop "$DIR/zookeeper"
    rm -rf "$DIR"
}

case ${1:-help} in
    start) start ;;
    stop) stop ;;
    status) status ;;
    watch) watch ;;
    owner) owner ;;
    kill) name=$(named "${2:-}") && send KILL "$name" kill ;;
    stop-gently)
        name=$(named "${2:-}")
        if is_service "$name"; then die "services are killed or paused"; fi
        send TERM "$name" -
        ;;
    pause) name=$(named "${2:-}") && send STOP "$name" pause ;;
    resume) name=$(named "${2:-}") && send CONT "$name" cont ;;
    revive)
        if is_service "${2:?which process?}"; then
            service revive "$2"
        else
            if pid_of "$2" >/dev/null; then die "$2 runs"; fi
            launch "$2"
        fi
        ;;
    *) sed -n '2,/^$/s/^# \{0,1\}//p' "$0" ;;
esac

#!/usr/bin/env bash
# Runs a real MariaDB server for tests: own folder, own port, own socket, no system service, nothing left behind.
#
#   mariadb.sh start DIR [PORT]    installs the package if missing, starts a server whose files are all in DIR (PORT: a free
#                                  one is looked for), makes a database and a user, waits until it serves, prints its URL
#   mariadb.sh url DIR             prints mysql://user:password@127.0.0.1:port/database
#   mariadb.sh kill DIR            kill -9
#   mariadb.sh revive DIR          starts a killed server again on the same data and port (does not wait; see wait)
#   mariadb.sh pause DIR           SIGSTOP: it keeps its connections and says nothing
#   mariadb.sh cont DIR            SIGCONT
#   mariadb.sh wait DIR            waits until it serves
#   mariadb.sh sql DIR [DATABASE]  runs the SQL on standard input as the administrator
#   mariadb.sh follow DIR FROM HOST  makes DIR's server a replica of FROM's, which is reached at HOST: copies its data, follows its log
#   mariadb.sh promote DIR         has a replica apply all that it received, follow nobody any more and take writes
#   mariadb.sh stop DIR            ends the server and removes DIR
#
# Environment: MARIADB_HOST (address to listen on, default 127.0.0.1), MARIADB_NETNS (a named network namespace to run in),
# MARIADB_DISK_MB (a memory file system of this size for the data: a disk that can be filled; needs the right to mount),
# MARIADB_DEADLINE (seconds, 60), MARIADB_OPTIONS (more options for the server, such as "--innodb-flush-log-at-trx-commit=2").
# Only the URL (or the answer of sql) goes to standard output; everything else goes to standard error.

set -euo pipefail

readonly MARK=.carillon-mariadb # only a folder that holds this file is ever removed
readonly DEADLINE=${MARIADB_DEADLINE:-60}
readonly DATABASE=carillon

say() { echo "mariadb.sh: $*" >&2; }
die() { say "$*"; exit 1; }

installed() { command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null && command -v mariadb >/dev/null; }

install_if_missing() {
    PATH=$PATH:/usr/sbin:/usr/local/sbin
    if installed; then return; fi
    command -v apt-get >/dev/null || die "needs a MariaDB server (Debian package: mariadb-server); please install it"
    [[ $(id -u) == 0 ]] || die "needs the package mariadb-server; as root: apt-get install -y --no-install-recommends mariadb-server"
    say "installing the package mariadb-server"
    (
        flock 9
        installed && exit 0
        export DEBIAN_FRONTEND=noninteractive
        # The package starts a service where it can; this forbids it, since the server here is our own.
        policy=/usr/sbin/policy-rc.d
        if [[ ! -e $policy ]]; then
            printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
            trap 'rm -f "$policy"' EXIT
        fi
        apt-get install -y --no-install-recommends mariadb-server >&2 ||
            { apt-get update >&2 && apt-get install -y --no-install-recommends mariadb-server >&2; }
    ) 9>/tmp/carillon-mariadb-install.lock
    installed || die "the package was installed, but its programs are not there"
}

# A port that nobody listens on, below the range the kernel gives to outgoing connections.
free_port() {
    local taken port try
    taken=" $(awk '$4 == "0A" { sub(".*:", "", $2); print $2 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null | tr '\n' ' ')"
    for try in {1..50}; do
        port=$((20000 + RANDOM % 11000))
        [[ $taken == *" $(printf %04X "$port") "* ]] && continue
        echo "$port"
        return
    done
    die "found no free port"
}

# The socket's path must be short (107 bytes), so it lies in a folder of its own under /tmp, which DIR/socket names.
socket_of() { cat "$1/socket"; }

pid_of() { cat "$1/pid" 2>/dev/null || true; }

# A process id may have been given to another process after a reboot or a long time: only a mariadbd of this folder counts.
alive() {
    local pid
    pid=$(pid_of "$1")
    [[ -n $pid && -r /proc/$pid/cmdline ]] && tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -- "--datadir=$1/data"
}

client() { mariadb --no-defaults --protocol=socket --socket="$(socket_of "$1")" --user=root --batch --skip-column-names "${@:2}"; }

launch() {
    local dir=$1 as_user=() options=() within=()
    [[ -z ${MARIADB_NETNS:-} ]] || within=(nsenter "--net=/run/netns/$MARIADB_NETNS" --)
    if [[ $(id -u) == 0 ]]; then as_user=(--user=root); fi
    read -ra options <<<"${MARIADB_OPTIONS:-}"
    # Durable as in production (flush at every commit), small otherwise. Names are not looked up, since tests have no DNS.
    "${within[@]}" setsid mariadbd --no-defaults "${as_user[@]}" --datadir="$dir/data" --socket="$(socket_of "$dir")" \
        --bind-address="${MARIADB_HOST:-127.0.0.1}" --port="$(cat "$dir/port")" --skip-name-resolve \
        --pid-file="$dir/mariadbd.pid" --tmpdir="$dir/tmp" --innodb-flush-log-at-trx-commit=1 \
        --innodb-buffer-pool-size=256M --innodb-log-file-size=256M --max-connections=300 --skip-log-bin \
        --performance-schema=OFF --character-set-server=utf8mb4 --log-error="$dir/error.log" "${options[@]}" \
        </dev/null >>"$dir/output.log" 2>&1 9>&- &
    echo $! >"$dir/pid"
}

wait_until_served() {
    local dir=$1 until=$((SECONDS + DEADLINE))
    until client "$dir" --execute "SELECT 1" >/dev/null 2>&1; do
        # On a busy machine the process may be there and not have become the server yet.
        alive "$dir" || kill -0 "$(pid_of "$dir")" 2>/dev/null ||
            { tail -n 20 "$dir/error.log" >&2 || true; die "the server ended; see above"; }
        ((SECONDS < until)) || { tail -n 20 "$dir/error.log" >&2 || true; die "does not serve after $DEADLINE s"; }
        sleep 0.1
    done
}

start() {
    local dir=$1 port=${2:-}
    [[ ! -e $dir || -z $(ls -A "$dir" 2>/dev/null) ]] || die "$dir exists and is not empty"
    install_if_missing
    mkdir -p "$dir/tmp" "$dir/data"
    dir=$(cd "$dir" && pwd)
    touch "$dir/$MARK"
    [[ -z ${MARIADB_DISK_MB:-} ]] || mount -t tmpfs -o "size=${MARIADB_DISK_MB}m" none "$dir/data"
    echo "${port:-$(free_port)}" >"$dir/port"
    echo "$(mktemp -d /tmp/carillon-mariadb.XXXXXX)/s" >"$dir/socket"
    # Random, so that another test's server that happens to sit on the port is never taken for ours.
    od -An -N12 -tx1 /dev/urandom | tr -d ' \n' >"$dir/password"
    local as_user=()
    if [[ $(id -u) == 0 ]]; then as_user=(--user=root); fi
    # A folder of its own for what is temporary: names there are made of the process id, which others in another namespace have, too.
    mariadb-install-db --no-defaults "${as_user[@]}" --datadir="$dir/data" --tmpdir="$dir/tmp" --auth-root-authentication-method=normal \
        --skip-test-db --innodb-log-file-size=256M >"$dir/install.log" 2>&1 ||
        { cat "$dir/install.log" "$dir"/data/*.err >&2 2>/dev/null; die "could not make the data folder"; }
    launch "$dir"
    wait_until_served "$dir"
    client "$dir" <<SQL
CREATE DATABASE $DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER 'carillon'@'%' IDENTIFIED BY '$(cat "$dir/password")';
GRANT ALL ON *.* TO 'carillon'@'%';
SQL
    url "$dir"
}

url() { echo "mysql://carillon:$(cat "$1/password")@${MARIADB_HOST:-127.0.0.1}:$(cat "$1/port")/$DATABASE"; }

stop() {
    local dir=$1 pid until
    [[ -e $dir/$MARK ]] || die "$dir is not a folder of this script"
    pid=$(pid_of "$dir")
    if alive "$dir"; then
        kill -CONT "$pid" 2>/dev/null || true
        kill -TERM "$pid" 2>/dev/null || true
        until=$((SECONDS + 10))
        while alive "$dir" && ((SECONDS < until)); do sleep 0.1; done
        if alive "$dir"; then kill -KILL "$pid" 2>/dev/null || true; fi
        while alive "$dir"; do sleep 0.1; done
    fi
    if mountpoint -q "$dir/data"; then umount "$dir/data"; fi
    rm -rf -- "$(dirname "$(socket_of "$dir")")" "$dir"
}

follow() {
    local dir=$1 from=$2 host=$3 databases
    cp "$from/password" "$dir/password"
    databases=$(client "$from" --execute "SHOW DATABASES" | grep -vxE 'mysql|sys|information_schema|performance_schema')
    # Its own log begins anew, so that nothing of its own is in the way of what it copies.
    client "$dir" --execute "DROP DATABASE $DATABASE; RESET MASTER; SET GLOBAL read_only = 1;
        SET PASSWORD FOR 'carillon'@'%' = PASSWORD('$(cat "$dir/password")')"
    # shellcheck disable=SC2086 # one word for each database
    mariadb-dump --no-defaults --protocol=socket --socket="$(socket_of "$from")" --user=root --single-transaction --master-data=1 --gtid \
        --hex-blob --databases $databases | client "$dir"
    client "$dir" --execute "CHANGE MASTER TO MASTER_HOST='$host', MASTER_PORT=$(cat "$from/port"), MASTER_USER='carillon',
        MASTER_PASSWORD='$(cat "$from/password")', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1; START SLAVE"
    until_follower "$dir" '$1 == "Seconds_Behind_Master:" && $2 == "0" { found = 1 } END { exit !found }'
}

said_of_replica() { mariadb --no-defaults --protocol=socket --socket="$(socket_of "$1")" --user=root --execute "SHOW SLAVE STATUS\\G"; }

# Waits until what a replica says of itself fits.
until_follower() {
    local dir=$1 fits=$2 until=$((SECONDS + DEADLINE))
    until said_of_replica "$dir" | awk "$fits"; do
        ((SECONDS < until)) || { said_of_replica "$dir" >&2; die "the replica of $dir does not come so far"; }
        sleep 0.05
    done
}

promote() {
    local dir=$1
    client "$dir" --execute "STOP SLAVE IO_THREAD"
    until_follower "$dir" '/Slave_SQL_Running_State:.*has read all relay log/ { found = 1 } END { exit !found }'
    client "$dir" --execute "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0"
}

(($# >= 2)) || die "usage: $0 start|url|kill|revive|pause|cont|wait|sql|follow|promote|stop DIR ..."
command=$1
dir=$2
if [[ $command != start ]]; then
    [[ -e $dir/$MARK ]] || die "$dir is not a folder of this script"
    dir=$(cd "$dir" && pwd)
    PATH=$PATH:/usr/sbin:/usr/local/sbin
fi
signal() { alive "$dir" || die "the server of $dir does not run"; kill -"$1" "$(pid_of "$dir")"; }
case $command in
    start) start "$dir" "${3:-}" ;;
    url) url "$dir" ;;
    kill) signal KILL; while alive "$dir"; do sleep 0.05; done ;;
    revive) alive "$dir" && die "the server of $dir runs"; launch "$dir" ;;
    pause) signal STOP ;;
    cont) signal CONT ;;
    wait) wait_until_served "$dir" ;;
    sql) client "$dir" "${@:3}" ;;
    follow) follow "$dir" "$(cd "$3" && pwd)" "$4" ;;
    promote) promote "$dir" ;;
    stop) stop "$dir" ;;
    *) die "unknown command $command" ;;
esac

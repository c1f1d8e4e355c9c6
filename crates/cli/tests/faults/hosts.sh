#!/bin/sh
# Hosts in network namespaces, with a requester on the first and provers on the others. Run by main.rs
# in user, network and mount namespaces of its own, so that all of it goes away with them.
#
#   hosts.sh probe                 whether such hosts can be made here
#   hosts.sh lan                   one network: found by mDNS; provers are killed, stopped, and join
#   hosts.sh routed                four networks: found by a bootstrap peer; the requester's link is cut
#
# MYRIAD: the binary. KEYS: a folder of keys. DIR: a folder for all else. PROGRAM, INPUT: the job.
set -eu
mode=$1

say() { echo "hosts.sh: $*" >&2; }
fail() { say "$*"; tail -n 30 "$DIR"/*.log >&2 || true; exit 1; }

mount -t tmpfs tmpfs /run
mkdir -p /run/netns
ip link set lo up
host() { # NUMBER ADDRESS: its other end is v$1 here
    ip netns add "h$1"
    ip link add "v$1" type veth peer name eth0 netns "h$1"
    ip link set "v$1" up
    ip -n "h$1" link set lo up
    ip -n "h$1" addr add "$2" dev eth0
    ip -n "h$1" link set eth0 up
}
[ "$mode" = probe ] && { host 1 10.9.0.1/24; ip netns exec h1 true; exit 0; }

on() { # HOST COMMAND...
    on_host=$1
    shift
    ip netns exec "h$on_host" "$@"
}
# Leaves the process id in $pid.
prover() { # HOST FLAGS...
    prover_host=$1
    shift
    on "$prover_host" "$MYRIAD" prover --data-dir "$DIR/$prover_host" --keys "$KEYS" --memory 1GiB --nice 0 "$@" \
        >/dev/null 2>"$DIR/prover-$prover_host.log" &
    pid=$!
}
# `--data-dir` of the requester has the keys.
requester() { # FLAGS...
    on 1 "$MYRIAD" prove "$PROGRAM" --input "$INPUT" --network --fleet 3 --memory 1GiB --json \
        --data-dir "$DIR/1" --out "$DIR/out" "$@" >"$DIR/out.json" 2>"$DIR/requester.log" &
    requester=$!
}
state() { # HOST: what its status says, in a word
    sed -n 's/.*"state": "\([a-z]*\)".*/\1/p' "$DIR/$1/provers/1/status.json" 2>/dev/null || true
}
# Waits until one of the hosts is proving, and leaves its number in $busy.
proving() { # SECONDS HOST...
    left=$(($1 * 10))
    shift
    while [ "$left" -gt 0 ]; do
        for busy in "$@"; do
            [ "$(state "$busy")" = proving ] && return 0
        done
        kill -0 "$requester" 2>/dev/null || fail "the requester has ended"
        left=$((left - 1))
        sleep 0.1
    done
    fail "no host of $* is proving"
}
finished() {
    wait "$requester" || fail "the requester failed"
    cat "$DIR/out.json"
}

case $mode in
lan)
    ip link add lan type bridge
    ip link set lan up
    for number in 1 2 3 4; do
        host $number 10.9.0.$number/24
        ip link set v$number master lan
        # Multicast needs a way out.
        ip -n h$number route add default dev eth0
    done
    prover 2
    pid_2=$pid
    prover 3
    pid_3=$pid
    requester
    proving 90 2 3
    say "host $busy is proving and is killed"
    eval "kill -9 \$pid_$busy"
    rm -f "$DIR/$busy/provers/1/status.json"
    other=$((5 - busy))
    prover 4
    proving 60 $other 4
    say "host $busy goes on, and is stopped"
    if [ "$busy" = 4 ]; then
        # Then host 4 got its first task while the job was under way, which is one thing to see.
        kill -TERM "$pid"
    else
        eval "kill -TERM \$pid_$busy"
    fi
    finished
    ;;
routed)
    echo 1 >/proc/sys/net/ipv4/ip_forward
    for number in 1 2 3 4; do
        host $number 10.9.$number.1/24
        ip addr add 10.9.$number.254/24 dev v$number
        ip -n h$number route add default via 10.9.$number.254
    done
    "$MYRIAD" bootstrap --data-dir "$DIR/bootstrap" --no-mdns --listen /ip4/0.0.0.0/udp/4001/quic-v1 \
        2>"$DIR/bootstrap.log" &
    for number in 2 3 4; do
        prover $number --no-mdns --bootstrap /ip4/10.9.$number.254/udp/4001/quic-v1
    done
    requester --no-mdns --bootstrap /ip4/10.9.1.254/udp/4001/quic-v1
    proving 90 2 3 4
    say "host $busy is proving; the requester's link is cut"
    ip link set v1 down
    sleep 30
    ip link set v1 up
    say "the link is there again"
    finished
    ;;
esac

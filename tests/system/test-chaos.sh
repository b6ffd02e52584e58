#!/bin/bash
# kontiki chaos: real members in namespaces, load, a few faults of a fixed seed, and a checked history. Each kind of fault for itself
# is in tests/sim; this shows that the command works, that it notices, and that it leaves nothing behind.
# shellcheck source=tests/system/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || { skip "everything: needs root"; exit 0; }
chaos_name=x$$
subnet=10.$((200 + $$ % 50)).$(($$ / 50 % 250)).0/24
chaos() { "$KONTIKI" chaos run --name "$chaos_name" --dir "$tmp/chaos" --subnet "$subnet" "$@"; }
clean() {
	[ ! -e "$tmp/chaos" ] && [ -z "$(find /run/netns -name "*-$chaos_name-*" 2>/dev/null)" ] && ! grep -q "$tmp/chaos" /proc/self/mountinfo &&
		! pgrep -f -- "--data-dir $tmp/chaos" >/dev/null
}

t_out "a cluster survives faults, and no client saw what no etcd may show" '^good: ' \
	chaos --duration 14 --seed 3 --picture "$tmp/timeline.svg"
t_out "the timeline is a picture" '</svg>' tail -n 1 "$tmp/timeline.svg"
t "it leaves nothing behind" clean
t_out "one kind of fault, one member" '^kill +[1-9]' chaos --servers 1 --duration 8 --fault kill --seed 1
# The same question put to a program that is known to answer it wrongly.
if [ -x "${KONTIKI_MUTANTS:=$(dirname "$KONTIKI")/tests/system/kontiki-mutants}" ]; then
	# Where the faults meet the calls is another matter each time: on a busy machine the mistake may need a second chance to show itself.
	stale() {
		local seed
		for seed in 1 2 3 4 5; do
			KONTIKI_MUTANT=stale_read "$KONTIKI_MUTANTS" chaos run --name "$chaos_name" --dir "$tmp/chaos" --subnet "$subnet" --duration 12 \
				--fault deposed --seed $seed >"$tmp/stale.log" 2>&1
			rm -rf "$tmp/chaos"
			! grep '^BAD' "$tmp/stale.log" || return 0
		done
		cat "$tmp/stale.log"
		return 1
	}
	t "a leader that serves stale reads is found" stale
	t_out "and what it has shown is told" '^BAD: stale read' cat "$tmp/stale.log"
	t "nothing of it is left" clean
else
	skip "a leader that serves stale reads: tests/system/kontiki-mutants is not built"
fi
t_err "an unknown fault is named" 'no fault "earthquake"' chaos --fault earthquake
t_out "faults are listed" '^bridge ' chaos --fault list
t_err "numbers out of range are refused" 'from 1 to 9' chaos --servers 12
mkdir "$tmp/chaos"
t_err "a folder that is there is left alone" 'exists' chaos --duration 1
t "it is still there" test -d "$tmp/chaos"
rmdir "$tmp/chaos"
t "and nothing is left at the end" clean

package redis

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
)

// TestPermanent: what passes by itself is waited for, in the words of version 7 and in those of 6.2, which wraps what a
// command in a script failed with; the rest ends the run.
func TestPermanent(t *testing.T) {
	const wrapped = "ERR Error running script (call to f_4e2003ed925709f8afb05d79ed112c74ab80d3d7): @user_script:204: @user_script: 204: "
	for _, c := range []struct {
		text              string
		permanent, memory bool
	}{
		{"OOM command not allowed when used memory > 'maxmemory'. script: 4e20, on @user_script:204.", false, true},
		{wrapped + "-OOM command not allowed when used memory > 'maxmemory'.", false, true},
		{"READONLY You can't write against a read only replica. script: 4e20, on @user_script:5.", false, false},
		{wrapped + "-READONLY You can't write against a read only replica.", false, false},
		{wrapped + "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.", false, false},
		{"LOADING Redis is loading the dataset in memory", false, false},
		{"CLUSTERDOWN The cluster is down", false, false},
		{"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", false, false},
		{"read tcp 127.0.0.1:1->127.0.0.1:2: connection reset by peer", false, false},
		{wrapped + "attempt to index a nil value", true, false},
		{"WRONGTYPE Operation against a key holding the wrong kind of value", true, false},
		{"NOAUTH Authentication required.", true, false},
		{"WRONGPASS invalid username-password pair or user is disabled.", true, false},
		{"NOPERM this user has no permissions to run the 'evalsha' command", true, false},
	} {
		err := errors.New(c.text)
		if permanent(err) != c.permanent || outOfMemory(err) != c.memory {
			t.Errorf("%s: permanent %t, out of memory %t", c.text, permanent(err), outOfMemory(err))
		}
	}
	if !permanent(redis.ErrClosed) {
		t.Error("a closed client is waited for")
	}
}

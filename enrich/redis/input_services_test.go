//go:build services

package redis

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary"
	"github.com/minecanary/minecanary/internal/stack"
)

func lines(entries []InputEntry) (out []string) {
	for _, e := range entries {
		out = append(out, string(e.Data))
	}
	return out
}

// TestList reads a list from both sides, cuts it off, and goes on after each loss there can be.
func TestList(t *testing.T) {
	client := dial(t, ClientConfig{Mode: Single, Addrs: stack.Redis(t, stack.Single).Addrs})
	ctx := t.Context()
	for _, right := range []bool{false, true} {
		key := fmt.Sprintf("suricata-%t", right)
		push := func(from, to int) {
			for i := from; i <= to; i++ {
				var err error
				if right {
					err = client.RPush(ctx, key, i).Err()
				} else {
					err = client.LPush(ctx, key, i).Err()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		at := func(n int64) minecanary.Position { return minecanary.Position{Offset: n} }
		told := 0
		l := NewList(client, key, right, func(error) { told++ })
		check := func(after int64, n int, wantFrom int64, want ...string) []InputEntry {
			t.Helper()
			from, got, err := l.Read(ctx, at(after), n)
			if err != nil || from != at(wantFrom) {
				t.Fatal(from, err)
			}
			if diff := cmp.Diff(want, lines(got)); diff != "" {
				t.Errorf("right %t, after %d (-want +got):\n%s", right, after, diff)
			}
			return got
		}
		check(0, 10, 0)
		push(1, 5)
		got := check(0, 3, 0, "1", "2", "3")
		check(3, 3, 3, "4", "5")
		if got[2].Next != at(3) {
			t.Errorf("the position behind the third is %v", got[2].Next)
		}
		// The same once more: nothing was taken out.
		check(0, 10, 0, "1", "2", "3", "4", "5")
		if err := l.Safe(ctx, at(2)); err != nil {
			t.Fatal(err)
		}
		if n := client.LLen(ctx, key).Val(); n != 3 {
			t.Errorf("%d are left", n)
		}
		check(3, 10, 3, "4", "5")
		if err := l.Safe(ctx, at(1)); err != nil { // late
			t.Fatal(err)
		}
		push(6, 6)
		check(3, 10, 3, "4", "5", "6")
		// Whoever asks has lost his state: what is cut off is gone.
		check(0, 1, 2, "3")
		// Redis has lost everything: the counting goes on.
		client.Del(ctx, key, l.taken)
		check(6, 10, 6)
		push(7, 8)
		check(6, 10, 6, "7", "8")
		if err := l.Safe(ctx, at(8)); err != nil {
			t.Fatal(err)
		}
		check(8, 10, 8)
		if told > 0 {
			t.Errorf("told %d times of losses", told)
		}
		// Redis comes back from a file of the time when 5 were cut off and two stood there: which of them were read is not
		// known, so they are read, and the counting goes on.
		push(9, 10)
		client.Set(ctx, l.taken, 5, 0)
		check(8, 10, 8, "9", "10")
		if told != 1 {
			t.Errorf("told %d times", told)
		}
		// The same while less is left than was read.
		client.Del(ctx, key)
		client.Set(ctx, l.taken, 9, 0)
		check(10, 10, 10)
		push(11, 11)
		check(10, 10, 10, "11")
		// What is not there is not cut off.
		if err := l.Safe(ctx, at(50)); err != nil {
			t.Fatal(err)
		}
		check(10, 10, 10, "11")
	}
}

// TestStream reads a stream behind a position.
func TestStream(t *testing.T) {
	client := dial(t, ClientConfig{Mode: Single, Addrs: stack.Redis(t, stack.Single).Addrs})
	ctx := t.Context()
	s := NewStream(client, "eve")
	if _, got, err := s.Read(ctx, minecanary.Position{}, 10); err != nil || len(got) > 0 {
		t.Fatal(got, err)
	}
	for i := range 5 {
		if err := client.Do(ctx, "XADD", "eve", "*", "eve", fmt.Sprintf(`{"n":%d}`, i)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	_, first, err := s.Read(ctx, minecanary.Position{}, 2)
	if err != nil || len(first) != 2 {
		t.Fatal(first, err)
	}
	_, rest, err := s.Read(ctx, first[1].Next, 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`{"n":0}`, `{"n":1}`, `{"n":2}`, `{"n":3}`, `{"n":4}`}
	if diff := cmp.Diff(want, lines(slices.Concat(first, rest))); diff != "" {
		t.Error(diff)
	}
	if _, got, err := s.Read(ctx, rest[2].Next, 10); err != nil || len(got) > 0 {
		t.Error(got, err)
	}
}

func TestStreamID(t *testing.T) {
	for _, bad := range []string{"", "1", "1-", "-1", "a-1", "1-b", "1-2-3"} {
		if p, err := streamID(bad); err == nil {
			t.Errorf("%q is %v", bad, p)
		}
	}
}

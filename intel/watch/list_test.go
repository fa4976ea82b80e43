package watch_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/intel/wallets"
	"github.com/minecanary/minecanary/intel/watch"
)

const (
	btc = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
	xmr = "42ey1afDFnn4886T7196doS9GPMzexD9gXpsZJDwVjeRVdFCSoHnv7KPbBeGpzJBzHRCAs9UxqeoyFQMYbqSWYTfJJQAWDm"
	eth = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"
)

var at = time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)

func TestParse(t *testing.T) {
	list, errs := watch.Parse(strings.NewReader("\ufeff# the desk's\r\n\r\n"+btc+"\r\n"+
		"  "+xmr+"\tlabel=case-17 expires=2026-12-31 seen by  Jürgen\n"+
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed expires=2026-11-21T05:00:00+01:00 label=x # a note"), "x.list")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	tests := []struct {
		wallet string
		at     time.Time
		want   watch.Entry
	}{
		{btc, at, watch.Entry{Wallet: btc}},
		{xmr, at, watch.Entry{Wallet: xmr, Label: "case-17", Note: "seen by Jürgen", Expires: time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)}},
		{xmr, at.AddDate(0, 2, 0), watch.Entry{}},
		{eth, at, watch.Entry{}}, // it has just ended
		{eth, at.Add(-time.Second), watch.Entry{Wallet: eth, Label: "x", Note: "a note", Expires: at}},
		{"x", at, watch.Entry{}},
	}
	for _, tt := range tests {
		got, ok := list.Match(tt.wallet, tt.at)
		if diff := cmp.Diff(tt.want, got); diff != "" || ok != (tt.want.Wallet != "") {
			t.Errorf("%s at %v: %v, %s", tt.wallet, tt.at, ok, diff)
		}
	}
	var none *watch.List
	if _, ok := none.Match(btc, at); ok || none.Len() != 0 || list.Len() != 3 {
		t.Error("an empty list has entries, or ours has not 3")
	}
}

func TestParseBad(t *testing.T) {
	tests := []struct{ line, want string }{
		{"alice", `"alice" is no wallet of a known coin`},
		{btc[:33] + "b", `the checksum of "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb" is wrong`},
		{btc + " expires=soon", `"expires=soon": must be a date such as 2026-12-31 or a time such as 2026-12-31T00:00:00Z`},
		{btc + " label=" + strings.Repeat("x", watch.MaxText+1), "label or note is longer than 256 bytes"},
		{btc + " " + strings.Repeat("x", watch.MaxText+1), "label or note is longer than 256 bytes"},
		{btc + " \xff", "the line is not valid UTF-8"},
		{btc + " a\x1bb", "the line has a character that cannot be printed"},
		{btc + " a\u202eb", "the line has a character that cannot be printed"},
		{btc + " " + strings.Repeat("x", 5000), "the line is longer than 4096 bytes"},
		{xmr, `"` + xmr + `" is there twice`},
	}
	var file strings.Builder
	file.WriteString(xmr + "\n")
	var want, got []string
	for i, tt := range tests {
		file.WriteString(tt.line + "\n")
		want = append(want, fmt.Sprintf("x:%d: %s", i+2, tt.want))
	}
	list, errs := watch.Parse(strings.NewReader(file.String()+eth), "x")
	for _, err := range errs {
		got = append(got, err.Error())
	}
	if diff := cmp.Diff(want, got); diff != "" || list.Len() != 2 {
		t.Errorf("%d entries, %s", list.Len(), diff)
	}
}

func TestParseBounds(t *testing.T) {
	var file strings.Builder
	for i := range watch.MaxEntries + 1 {
		fmt.Fprintf(&file, "0x%040d\n", i)
	}
	list, errs := watch.Parse(strings.NewReader(file.String()), "x")
	if list.Len() != watch.MaxEntries || len(errs) != 1 || errs[0].Error() != "x:100001: the list has more than 100000 wallets" {
		t.Errorf("%d entries, %v", list.Len(), errs)
	}
	_, errs = watch.Parse(strings.NewReader(strings.Repeat("bad\n", watch.MaxErrors+2)), "x")
	if len(errs) != watch.MaxErrors+1 || errs[watch.MaxErrors].Error() != "x: 2 more lines are wrong" {
		t.Errorf("%d errors", len(errs))
	}
	boom := errors.New("boom")
	if _, errs = watch.Parse(iotest.ErrReader(boom), "x"); len(errs) != 1 || !errors.Is(errs[0], boom) {
		t.Error(errs)
	}
	if list, errs := watch.ReadFile(filepath.Join(t.TempDir(), "missing")); len(errs) != 1 || list.Len() != 0 {
		t.Error(errs)
	}
}

func FuzzWatchList(f *testing.F) {
	f.Add(btc + " label=a expires=2026-12-31 b\n# c\n" + eth)
	f.Add("\ufeff" + xmr + "\r\n" + xmr)
	f.Fuzz(func(t *testing.T, file string) {
		list, errs := watch.Parse(strings.NewReader(file), "x")
		if lines := strings.Count(file, "\n") + 1; list.Len()+len(errs) > lines+1 {
			t.Fatalf("%d entries and %d errors of %d lines", list.Len(), len(errs), lines)
		}
		for line := range strings.Lines(file) {
			if l, ok := wallets.Recognise(strings.TrimSpace(line)); ok && l.Valid {
				if e, ok := list.Match(l.Wallet, time.Time{}); !ok || e.Wallet != l.Wallet {
					t.Fatalf("%s is not in the list: %v", l.Wallet, errs)
				}
			}
		}
	})
}

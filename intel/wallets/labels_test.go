package wallets_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/intel/wallets"
)

func TestReadLabels(t *testing.T) {
	file := "\ufeffWallet,Cluster,Label,Source\r\n" +
		"# the desk's own\r\n\r\n" +
		xmr + ",c1,\"Miner, the first\",desk\r\n" +
		xmr + ",c1,\"Miner, the first\",desk\r\n" + // the same again
		xmr + ",c2,,WalletExplorer\n" +
		"BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4,,Müller\n" +
		"14wYzT9Kk2cT8vUQyTzGiNq3V4m1fGQv8H5c9DdPqbVZu,c3,of a coin we do not know,x"
	labels, errs := wallets.ReadLabels(strings.NewReader(file), "x.csv")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if labels.Len() != 4 {
		t.Errorf("%d labels", labels.Len())
	}
	for wallet, want := range map[string][]wallets.Label{
		xmr: {{Cluster: "c1", Label: "Miner, the first", Source: "desk"}, {Cluster: "c2", Source: "WalletExplorer"}},
		"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4":    {{Label: "Müller"}},
		"BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4":    {{Label: "Müller"}},
		"14wYzT9Kk2cT8vUQyTzGiNq3V4m1fGQv8H5c9DdPqbVZu": {{Cluster: "c3", Label: "of a coin we do not know", Source: "x"}},
		btc: nil,
		"":  nil,
	} {
		if diff := cmp.Diff(want, labels.Find(wallet)); diff != "" {
			t.Errorf("%s: %s", wallet, diff)
		}
	}
	labels.Find(xmr)[0].Label = "changed"
	if labels.Find(xmr)[0].Label == "changed" {
		t.Error("the caller can change the table")
	}
	var none *wallets.Labels
	if none.Len() != 0 || none.Find(xmr) != nil {
		t.Error("no table has labels")
	}
}

func TestReadLabelsBad(t *testing.T) {
	tests := []struct{ line, want string }{
		{xmr + ",c1", "a row has wallet,cluster,label,source, this one has 2 fields"},
		{xmr + ",c1,l,s,more", "a row has wallet,cluster,label,source, this one has 5 fields"},
		{xmr + ",,", "both cluster and label are empty"},
		{",c1,l", `"" is no wallet`},
		{"two words,c1,l", `"two words" is no wallet`},
		{"höhle,c1,l", `"höhle" is no wallet`},
		{btc[:33] + "b,c1,l", `the checksum of "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb" is wrong`},
		{xmr + ",\"c1,l", "this is no row of comma-separated values"},
		{xmr + ",c1,\xff", "the row is not valid UTF-8"},
		{xmr + ",c1,a\x1b[31mb", "the row has a character that cannot be printed"},
		{xmr + ",c1," + strings.Repeat("x", wallets.MaxLabelField+1), "a field is longer than 256 bytes"},
		{xmr + ",c1," + strings.Repeat("x", 10000), "the line is longer than 4096 bytes"},
	}
	var file strings.Builder
	var want, got []string
	for i, tt := range tests {
		fmt.Fprintf(&file, "%s\nwallet%d,c1,l\n", tt.line, i)
		want = append(want, fmt.Sprintf("x.csv:%d: %s", 2*i+1, tt.want))
	}
	labels, errs := wallets.ReadLabels(strings.NewReader(file.String()), "x.csv")
	for _, err := range errs {
		got = append(got, err.Error())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if labels.Len() != len(tests) {
		t.Errorf("%d good rows were read, want %d", labels.Len(), len(tests))
	}
}

func TestReadLabelsBounds(t *testing.T) {
	var file strings.Builder
	for i := range wallets.MaxLabelsPerWallet + wallets.MaxLabelErrors + 3 {
		fmt.Fprintf(&file, "w,c%d,l\n", i)
	}
	labels, errs := wallets.ReadLabels(strings.NewReader(file.String()), "x")
	if n := len(labels.Find("w")); n != wallets.MaxLabelsPerWallet {
		t.Errorf("%d labels of one wallet", n)
	}
	if len(errs) != wallets.MaxLabelErrors+1 || errs[wallets.MaxLabelErrors].Error() != "x: 3 more lines are wrong" {
		t.Errorf("%d errors, the last is %v", len(errs), errs[len(errs)-1])
	}
	file.Reset()
	for i := range wallets.MaxLabels + 2 {
		fmt.Fprintf(&file, "%d,c,\n", i)
	}
	labels, errs = wallets.ReadLabels(strings.NewReader(file.String()), "x")
	want := fmt.Sprintf("x:%d: there are more than %d labels, the rest is left out", wallets.MaxLabels+1, wallets.MaxLabels)
	if labels.Len() != wallets.MaxLabels || len(errs) != 1 || errs[0].Error() != want {
		t.Errorf("%d labels, %v", labels.Len(), errs)
	}
	boom := errors.New("boom")
	labels, errs = wallets.ReadLabels(iotest.ErrReader(boom), "x")
	if len(errs) != 1 || !errors.Is(errs[0], boom) || labels.Len() != 0 {
		t.Errorf("%v", errs)
	}
	if _, errs := wallets.ReadLabelFile(filepath.Join(t.TempDir(), "missing")); len(errs) != 1 {
		t.Errorf("%v", errs)
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("wallet,cluster,label,source\n" + xmr + ",c1,l,s\n")
	f.Add(btc + ",,\"a\"\"b\"\n\"\n")
	f.Fuzz(func(t *testing.T, file string) {
		labels, errs := wallets.ReadLabels(strings.NewReader(file), "x")
		if lines := strings.Count(file, "\n") + 1; labels.Len()+len(errs) > lines+1 {
			t.Fatalf("%d labels and %d errors of %d lines", labels.Len(), len(errs), lines)
		}
		for _, err := range errs {
			if len(err.Error()) > 2048 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
		}
	})
}

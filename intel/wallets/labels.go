package wallets

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/minecanary/minecanary/intel/internal/lines"
)

// The bounds of labels.
const (
	// MaxLabels is how many labels a table may have.
	MaxLabels = 250_000
	// MaxLabelsPerWallet is how many labels a wallet may have.
	MaxLabelsPerWallet = 8
	// MaxLabelField is the longest field of a label in bytes.
	MaxLabelField = 256
	// MaxLabelErrors is how many bad rows of a file are reported one by one; the rest is counted in one more error.
	MaxLabelErrors = 1000

	maxLabelLine = 4096
)

// Label is what is said of a wallet elsewhere: that it belongs to a cluster of wallets of one owner, as tools that follow
// payments find them, and who that is.
type Label struct {
	Cluster string `json:"cluster,omitempty"`
	Label   string `json:"label,omitempty"`
	Source  string `json:"source,omitempty"`
}

// Labels is a table of labels by wallet. It never changes after it was read, so it may be used by several goroutines at
// once. Nil is an empty table.
type Labels struct {
	byWallet map[string][]Label
	count    int
}

// Len is the number of labels.
func (t *Labels) Len() int {
	if t == nil {
		return 0
	}
	return t.count
}

// Find gives the labels of a wallet in any of its spellings, in the order of the file. The slice is the caller's.
func (t *Labels) Find(wallet string) []Label {
	if t == nil || len(wallet) > MaxLabelField {
		return nil
	}
	return slices.Clone(t.byWallet[key(wallet)])
}

// key is the one spelling of a wallet. Wallets of coins that are not known stand for themselves.
func key(wallet string) string {
	if l, ok := Recognise(wallet); ok {
		return l.Wallet
	}
	return wallet
}

// ReadLabelFile reads the labels of a file, see ReadLabels.
func ReadLabelFile(path string) (*Labels, []error) {
	f, err := os.Open(path)
	if err != nil {
		return &Labels{}, []error{fmt.Errorf("read labels: %w", err)}
	}
	t, errs := ReadLabels(f, path)
	if err := f.Close(); err != nil {
		errs = append(errs, fmt.Errorf("read labels: %w", err))
	}
	return t, errs
}

// ReadLabels reads labels as comma-separated values (RFC 4180, one row a line): wallet,cluster,label,source, of which
// source may be missing and cluster or label may be empty. A first row that begins with "wallet," is a header; lines that
// begin with # are comments. name is what errors call the file. Bad rows are errors with name and line, the others are in
// the table, which is never nil.
func ReadLabels(r io.Reader, name string) (*Labels, []error) {
	t := &Labels{byWallet: map[string][]Label{}}
	var errs []error
	more := 0
	err := lines.Each(r, maxLabelLine, func(number int, line, reason string) bool {
		if t.count == MaxLabels {
			errs = append(errs, fmt.Errorf("%s:%d: there are more than %d labels, the rest is left out", name, number, MaxLabels))
			return false
		}
		header := number == 1 && strings.HasPrefix(strings.ToLower(line), "wallet,")
		if reason == "" && strings.TrimSpace(line) != "" && line[0] != '#' && !header {
			reason = t.add(line)
		}
		if reason != "" && len(errs) < MaxLabelErrors {
			errs = append(errs, fmt.Errorf("%s:%d: %s", name, number, reason))
		} else if reason != "" {
			more++
		}
		return true
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("read %s: %w", name, err))
	}
	if more > 0 {
		errs = append(errs, fmt.Errorf("%s: %d more lines are wrong", name, more))
	}
	return t, errs
}

// add reads one row; reason tells why not.
func (t *Labels) add(line string) (reason string) {
	fields := strings.Split(line, ",")
	if strings.Contains(line, `"`) {
		row := csv.NewReader(strings.NewReader(line))
		row.FieldsPerRecord = -1
		var err error
		if fields, err = row.Read(); err != nil {
			return "this is no row of comma-separated values"
		}
	}
	const least, most = 3, 4
	if len(fields) < least || len(fields) > most {
		return fmt.Sprintf("a row has wallet,cluster,label,source, this one has %d fields", len(fields))
	}
	for i, f := range fields {
		fields[i] = strings.TrimSpace(f)
		switch {
		case len(f) > MaxLabelField:
			return fmt.Sprintf("a field is longer than %d bytes", MaxLabelField)
		case !utf8.ValidString(f):
			return "the row is not valid UTF-8"
		case strings.ContainsFunc(f, func(r rune) bool { return !unicode.IsPrint(r) }):
			return "the row has a character that cannot be printed"
		}
	}
	fields = append(fields, "")
	wallet, label := fields[0], Label{Cluster: fields[1], Label: fields[2], Source: fields[3]}
	known, ok := Recognise(wallet)
	switch {
	case wallet == "" || strings.ContainsFunc(wallet, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Sprintf("%q is no wallet", wallet)
	case ok && !known.Valid && !known.Unchecked:
		return fmt.Sprintf("the checksum of %q is wrong", wallet)
	case label.Cluster == "" && label.Label == "":
		return "both cluster and label are empty"
	}
	wallet = key(wallet)
	have := t.byWallet[wallet]
	switch {
	case slices.Contains(have, label):
		return ""
	case len(have) == MaxLabelsPerWallet:
		return fmt.Sprintf("%q has more than %d labels", wallet, MaxLabelsPerWallet)
	}
	t.byWallet[wallet] = append(have, label)
	t.count++
	return ""
}

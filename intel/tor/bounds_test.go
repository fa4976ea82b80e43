package tor

import (
	"strings"
	"testing"
)

func TestBounds(t *testing.T) {
	const row = "192.0.2.7,2026-01-10,\n"
	b := newBuilder()
	b.most = 3
	b.read(strings.NewReader(strings.Repeat(row, 5)), "x")
	b.read(strings.NewReader(`{"relays":[{"or_addresses":["192.0.2.7:1"],"first_seen":"2026-01-10","last_seen":"2026-01-10"}]}`), "y")
	if len(b.errs) != 1 || b.errs[0].Error() != "x:4: there are more than 3 intervals, the rest is left out" || b.table().Len() != 3 {
		t.Error(b.errs)
	}
	b = newBuilder()
	b.bytes = int64(2 * len(row))
	b.read(strings.NewReader(strings.Repeat(row, 5)), "x")
	if len(b.errs) != 1 || b.errs[0].Error() != "x: the file is larger than 44 bytes, the rest is left out" || b.table().Len() != 2 {
		t.Error(b.errs, b.table().Len())
	}
}

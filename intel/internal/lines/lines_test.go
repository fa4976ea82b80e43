package lines_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/minecanary/minecanary/intel/internal/lines"
)

func TestEach(t *testing.T) {
	long := strings.Repeat("x", 40)
	text := "\ufeffone\r\n\n" + long + "\nthree\n" + long
	for stop, want := range map[int][]string{
		0: {"1 one ", "2  ", "3  the line is longer than 16 bytes", "4 three ", "5  the line is longer than 16 bytes"},
		2: {"1 one ", "2  "},
	} {
		var got []string
		err := lines.Each(iotest.OneByteReader(strings.NewReader(text)), 16, func(number int, line, tooLong string) bool {
			got = append(got, fmt.Sprintf("%d %s %s", number, line, tooLong))
			return number != stop
		})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
	broken := errors.New("broken")
	if err := lines.Each(iotest.ErrReader(broken), 16, func(int, string, string) bool { return true }); !errors.Is(err, broken) {
		t.Error(err)
	}
}

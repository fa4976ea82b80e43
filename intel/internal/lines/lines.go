// Package lines reads text files of others line by line within a bound.
package lines

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Each calls do with every line, numbered from 1, without its line end and without a byte order mark before the first. A
// line of more than most bytes, its line end included, is passed over: do gets the reason instead of its text, else "".
// It ends when do says so (false) or the reader does; the error is the reader's.
func Each(r io.Reader, most int, do func(number int, line, tooLong string) bool) error {
	br := bufio.NewReaderSize(r, most)
	for number := 1; ; number++ {
		raw, err := br.ReadSlice('\n')
		line, tooLong := strings.TrimRight(string(raw), "\r\n"), ""
		if errors.Is(err, bufio.ErrBufferFull) {
			line, tooLong = "", fmt.Sprintf("the line is longer than %d bytes", most)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = br.ReadSlice('\n')
			}
		}
		if number == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if (len(raw) > 0 || tooLong != "") && !do(number, line, tooLong) {
			return nil
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

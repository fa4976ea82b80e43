package audit

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// lines reads lines of at most MaxLine bytes; of a longer one only the beginning is kept, which breaks the chain.
type lines struct {
	r   *bufio.Reader
	buf []byte
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, MaxLine)} }

// next gives the next line without its line end, and whether it had one. The line is valid until the next call.
func (l *lines) next() (line []byte, whole bool, err error) {
	l.buf = l.buf[:0]
	for {
		piece, err := l.r.ReadSlice('\n')
		if room := MaxLine - len(l.buf); room > 0 {
			l.buf = append(l.buf, piece[:min(room, len(piece))]...)
		}
		switch {
		case err == nil:
			return bytes.TrimSuffix(l.buf, []byte{'\n'}), true, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(l.buf) > 0:
			return l.buf, false, nil
		default:
			return nil, false, err
		}
	}
}

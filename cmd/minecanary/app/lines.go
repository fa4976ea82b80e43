package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// eachOf calls do with every argument, with the lines of standard input for "-", and with the lines of files. where names
// the line, "" for an argument. The first error ends it.
func eachOf(stdin io.Reader, args, files []string, do func(where, text string) error) error {
	for _, arg := range args {
		var err error
		if arg == "-" {
			err = eachLine(stdin, "standard input", do)
		} else {
			err = do("", arg)
		}
		if err != nil {
			return err
		}
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(eachLine(f, name, do), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// eachLine calls do with every line that is not empty or a comment; where names the line.
func eachLine(r io.Reader, name string, do func(where, line string) error) error {
	scan := bufio.NewScanner(r)
	for n := 1; scan.Scan(); n++ {
		line, _, _ := strings.Cut(scan.Text(), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := do(fmt.Sprintf("%s:%d: ", name, n), line); err != nil {
			return err
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

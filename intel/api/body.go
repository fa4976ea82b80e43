package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// keyForm is how the members of all our documents are called. encoding/json would take them in any case.
var keyForm = regexp.MustCompile(`^[a-z_]{1,40}$`)

// body reads a JSON body into v: one object, nothing behind it, no unknown or repeated member, no null.
func (c *call) body(v any) error {
	if _, err := c.bodyType(typeJSON); err != nil {
		return err
	}
	data, err := io.ReadAll(c.r.Body)
	if err != nil {
		return unread(err)
	}
	if data, err = strict(data); err != nil {
		return problem(http.StatusBadRequest, "the body is wrong: %s", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		status := http.StatusBadRequest
		if !strings.HasPrefix(err.Error(), "json: ") { // it has the form, but is no address
			status = http.StatusUnprocessableEntity
		}
		return problem(status, "the body is wrong: %s", told(err))
	}
	return nil
}

// unread is a problem if the body was too large; a body that breaks off is the client's fault as well.
func unread(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return problem(http.StatusBadRequest, "the body broke off")
}

// told is what an error of encoding/json says, without what it repeats of the body at length.
func told(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("%s cannot be a %s", quote(wrong.Field), quote(wrong.Value))
	}
	return quote(err.Error())
}

// strict checks what encoding/json does not (see body), and writes whole numbers as such: 3333.0 is an integer to JSON
// Schema.
func strict(data []byte) ([]byte, error) {
	s := walker{dec: json.NewDecoder(bytes.NewReader(data)), data: data}
	s.dec.UseNumber()
	if first, err := s.dec.Token(); err != nil || first != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	if err := s.object(1); err != nil {
		return nil, err
	}
	if _, err := s.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind the object")
	}
	return append(s.out, data[s.done:]...), nil
}

// walker goes through a document; out is what it wrote anew of the first done bytes.
type walker struct {
	dec       *json.Decoder
	data, out []byte
	done      int
}

// object reads the members behind a brace.
func (s *walker) object(depth int) error {
	seen := map[string]bool{}
	for {
		t, err := s.dec.Token()
		if err != nil {
			return errors.New("it is no JSON")
		}
		if t == json.Delim('}') {
			return nil
		}
		key, ok := t.(string)
		switch {
		case !ok || !keyForm.MatchString(key):
			return fmt.Errorf("there is no member %s", quote(fmt.Sprint(t)))
		case seen[key]:
			return fmt.Errorf("the member %q is there twice", key)
		}
		seen[key] = true
		if _, err := s.value(depth); err != nil {
			return err
		}
	}
}

// value reads one value; end tells that it was the bracket behind the last one of an array.
func (s *walker) value(depth int) (end bool, err error) {
	t, err := s.dec.Token()
	switch {
	case err != nil:
		return false, errors.New("it is no JSON")
	case t == nil:
		return false, errors.New("null is no value; leave the member out")
	case depth >= MaxDepth:
		return false, fmt.Errorf("it is nested deeper than %d", MaxDepth)
	case t == json.Delim('{'):
		return false, s.object(depth + 1)
	case t == json.Delim('['):
		for {
			if end, err := s.value(depth + 1); end || err != nil {
				return false, err
			}
		}
	}
	if n, ok := t.(json.Number); ok {
		s.number(n)
	}
	return t == json.Delim(']'), nil
}

// maxWhole is the largest number that a float64 tells from the next one.
const maxWhole = 1 << 53

// number writes the number that was read last anew if it is whole and does not look so.
func (s *walker) number(n json.Number) {
	f, err := n.Float64()
	if !strings.ContainsAny(string(n), ".eE") || err != nil || f != math.Trunc(f) || math.Abs(f) > maxWhole {
		return
	}
	end := int(s.dec.InputOffset())
	s.out = append(s.out, s.data[s.done:end-len(n)]...)
	s.out = strconv.AppendInt(s.out, int64(f), 10)
	s.done = end
}

package jsonscan

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// One field of each kind, and an object with two more; "two" may also be spelled "deux" or inner "zwei".
const (
	fieldPresence = iota + 1
	fieldText
	fieldTexts
	fieldToken
	fieldRaw
	fieldCount
	fieldSeconds
	fieldTime
	fieldBool
	fieldObject
	fieldTwo
	fieldInner
)

var testSchema = &Schema{
	Fields: []Field{
		{},
		{Kind: Presence},
		{Kind: Text},
		{Kind: Texts},
		{Kind: Token},
		{Kind: Raw},
		{Kind: Count},
		{Kind: Seconds},
		{Kind: Time},
		{Kind: Bool},
		{Kind: Object, Object: 1},
		{Kind: Count},
		{Kind: Text},
	},
	Members: []Member{
		{Key: "presence", Field: fieldPresence},
		{Key: "text", Field: fieldText},
		{Key: "texts", Field: fieldTexts},
		{Key: "token", Field: fieldToken},
		{Key: "raw", Field: fieldRaw},
		{Key: "count", Field: fieldCount},
		{Key: "seconds", Field: fieldSeconds},
		{Key: "time", Field: fieldTime},
		{Key: "bool", Field: fieldBool},
		{Key: "object", Field: fieldObject},
		{Key: "two", Field: fieldTwo},
		{Key: "deux", Field: fieldTwo},
		{Object: 1, Key: "zwei", Field: fieldTwo},
		{Object: 1, Key: "inner", Field: fieldInner},
	},
	Objects: 2,
}

// shown is what a test can say of Values: per key the value, or what is wrong with it.
func shown(v *Values) map[string]string {
	m := make(map[string]string)
	for f := uint8(1); int(f) < len(testSchema.Fields); f++ {
		name := strconv.Itoa(int(f))
		for _, member := range testSchema.Members {
			if member.Field == f {
				name = member.Key
				break
			}
		}
		kind := testSchema.Fields[f].Kind
		switch bit := uint64(1) << f; {
		case v.Has&bit == 0:
		case v.Wrong&bit != 0:
			m[name] = "wrong"
		case v.Below&bit != 0:
			m[name] = "below"
		case v.Above&bit != 0:
			m[name] = "above"
		case kind == Presence || kind == Object:
			m[name] = "there"
		case kind == Count || kind == Seconds || kind == Time || kind == Bool:
			m[name] = strconv.FormatUint(v.Numbers[f], 10)
		default:
			m[name] = string(v.Text(f))
		}
	}
	return m
}

func TestScanner(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	type values = map[string]string
	for _, tc := range []struct {
		name, line string
		// punts: Scan leaves the line to Read.
		punts bool
		flaw  Flaw
		want  values
	}{
		{name: "empty object", line: `{}`, want: values{}},
		{name: "empty object, spaces", line: " { } \r", want: values{}},
		{
			name: "one of each",
			line: `{"presence":"x","text":"tcp","texts":"a,b","token":12,"raw":[1, 2],"count":705,"seconds":7200.013000011444,"time":1751446436.5,"bool":true,"object":{"zwei":5,"inner":"i"}}`,
			want: values{
				"presence": "there", "text": "tcp", "texts": "a,b", "token": "12", "raw": "[1, 2]", "count": "705",
				"seconds": "7200013000", "time": "1751446436500000", "bool": "1", "object": "there", "two": "5", "inner": "i",
			},
		},
		{
			name: "spaces everywhere",
			line: "\t{ \"text\" : \"a\" , \"count\" : 1 ,\r\"bool\" :false, \"object\" : { \"inner\" : \"\" } } ",
			want: values{"text": "a", "count": "1", "bool": "0", "object": "there", "inner": ""},
		},
		{name: "null is absent", line: `{"text":null,"count":null,"bool":null,"object":null,"presence":null,"raw":null}`, want: values{}},
		{name: "last of equal keys", line: `{"count":1,"count":2}`, punts: true, want: values{"count": "2"}},
		{name: "last of equal keys is null", line: `{"count":1,"count":null}`, punts: true, want: values{}},
		{name: "first of equal keys is null", line: `{"count":null,"count":1}`, want: values{"count": "1"}},
		{name: "unknown keys may repeat", line: `{"x":1,"x":[],"count":1}`, want: values{"count": "1"}},
		{name: "first spelling counts", line: `{"object":{"zwei":1},"deux":2,"two":3}`, punts: true, want: values{"object": "there", "two": "3"}},
		{name: "second spelling", line: `{"deux":2}`, want: values{"two": "2"}},
		{name: "escaped key", line: `{"\u0063ount":2}`, punts: true, want: values{"count": "2"}},
		{name: "case counts", line: `{"COUNT":2}`, want: values{}},
		{name: "escaped text", line: `{"text":"a\tb"}`, punts: true, want: values{"text": "a\tb"}},
		{name: "escape in what is not read", line: `{"x":"a\"\\\u00e4","presence":"\/","count":1}`, want: values{"presence": "there", "count": "1"}},
		{name: "escape beyond eight bytes", line: `{"text":"0123456789\n","count":1}`, punts: true, want: values{"text": "0123456789\n", "count": "1"}},
		{name: "texts as list", line: `{"texts":["a","b"]}`, punts: true, want: values{"texts": "a,b"}},
		{name: "texts as list of numbers", line: `{"texts":[1]}`, punts: true, want: values{"texts": "wrong"}},
		{name: "token as text", line: `{"token":"12"}`, want: values{"token": "12"}},
		{name: "raw text", line: `{"raw":"a"}`, want: values{"raw": `"a"`}},
		{name: "wrong types", line: `{"text":1,"texts":true,"token":[],"count":"1","seconds":"1","time":true,"bool":1,"object":"x"}`, punts: true, want: values{
			"text": "wrong", "texts": "wrong", "token": "wrong", "count": "wrong", "seconds": "wrong", "time": "wrong",
			"bool": "wrong", "object": "wrong",
		}},
		{name: "wrong types without a list", line: `{"text":1,"count":{"a":[]},"bool":"true"}`, want: values{"text": "wrong", "count": "wrong", "bool": "wrong"}},
		{name: "whole floats", line: `{"count":1.0}`, punts: true, want: values{"count": "1"}},
		{name: "whole exponents", line: `{"count":12e3}`, punts: true, want: values{"count": "12000"}},
		{name: "fraction", line: `{"count":1.5}`, punts: true, want: values{"count": "wrong"}},
		{name: "large counts", line: `{"count":123456789,"two":99999999999999999999}`, want: values{"count": "123456789", "two": "above"}},
		{name: "largest", line: `{"count":9223372036854775807}`, want: values{"count": "9223372036854775807"}},
		{name: "below", line: `{"count":-1,"seconds":-0.0000001,"time":-5}`, want: values{"count": "below", "seconds": "below", "time": "below"}},
		{name: "minus zero", line: `{"count":-0,"seconds":-0.0}`, want: values{"count": "0", "seconds": "0"}},
		{name: "above", line: `{"seconds":1e400,"time":1e300}`, want: values{"seconds": "above", "time": "above"}},
		{name: "exponents", line: `{"seconds":9.5e-05,"time":1.7E+9}`, want: values{"seconds": "95", "time": "1700000000000000"}},
		{name: "rounding", line: `{"seconds":0.0000005,"time":1.9999994}`, want: values{"seconds": "1", "time": "1999999"}},
		{name: "rounding at the end of a long fraction", line: `{"seconds":0.99999950000000000000000000000000}`, want: values{"seconds": "1000000"}},
		{name: "milliseconds", line: `{"time":1700000000123}`, want: values{"time": "1700000000123000"}},
		{name: "milliseconds from", line: `{"time":100000000000}`, want: values{"time": "100000000000000"}},
		{name: "seconds to", line: `{"time":99999999999}`, want: values{"time": "99999999999000000"}},
		{name: "date", line: `{"time":"2023-11-14T22:13:20.000000Z"}`, want: values{"time": "1700000000000000"}},
		{name: "date of Suricata", line: `{"time":"2023-11-14T23:13:20.5+0100"}`, want: values{"time": "1700000000500000"}},
		{name: "date before 1970", line: `{"time":"1969-12-31T23:59:59Z"}`, punts: true, want: values{"time": "below"}},
		{name: "date that is none", line: `{"time":"2023-02-29T23:59:59Z"}`, punts: true, want: values{"time": "wrong"}},
		{name: "nested and passed over", line: `{"x":{"a":[1,{"b":"c"},[]],"d":{}},"count":1,"y":[{}]}`, want: values{"count": "1"}},
		{name: "deep enough", line: `{"x":` + deep(MaxDepth-1) + `}`, want: values{}},
		{name: "too deep", line: `{"x":` + deep(MaxDepth) + `}`, punts: true, flaw: TooDeep},
		{name: "too deep in an object", line: `{"object":{"x":` + deep(MaxDepth-1) + `}}`, punts: true, flaw: TooDeep},
		{name: "brackets in texts", line: `{"x":"` + strings.Repeat("[", 99) + `"}`, want: values{}},
		{name: "nothing", line: ``, punts: true, flaw: NotJSON},
		{name: "list", line: `[]`, punts: true, flaw: NotJSON},
		{name: "null", line: `null`, punts: true, flaw: NotJSON},
		{name: "open", line: `{"count":1`, punts: true, flaw: NotJSON},
		{name: "open text", line: `{"text":"`, punts: true, flaw: NotJSON},
		{name: "no comma", line: `{"count":1 "two":2}`, punts: true, flaw: NotJSON},
		{name: "comma at the end", line: `{"count":1,}`, punts: true, flaw: NotJSON},
		{name: "comma at the start", line: `{,"count":1}`, punts: true, flaw: NotJSON},
		{name: "no colon", line: `{"count" 1}`, punts: true, flaw: NotJSON},
		{name: "no value", line: `{"count":}`, punts: true, flaw: NotJSON},
		{name: "more behind", line: `{"count":1}x`, punts: true, flaw: NotJSON},
		{name: "two objects", line: `{"count":1}{}`, punts: true, flaw: NotJSON},
		{name: "leading zero", line: `{"count":01}`, punts: true, flaw: NotJSON},
		{name: "leading zero passed over", line: `{"x":01,"count":1}`, punts: true, flaw: NotJSON},
		{name: "leading zero of a time", line: `{"time":01.5}`, punts: true, flaw: NotJSON},
		{name: "point at the end", line: `{"seconds":1.}`, punts: true, flaw: NotJSON},
		{name: "exponent without digits", line: `{"seconds":1e}`, punts: true, flaw: NotJSON},
		{name: "plus", line: `{"count":+1}`, punts: true, flaw: NotJSON},
		{name: "NaN", line: `{"seconds":NaN}`, punts: true, flaw: NotJSON},
		{name: "control byte", line: "{\"text\":\"a\x01\"}", punts: true, flaw: NotJSON},
		{name: "zero byte for a bracket", line: "{\"count\":1\x00", punts: true, flaw: NotJSON},
		{name: "zero byte for a comma", line: "{\"count\":1\x00\"two\":1}", punts: true, flaw: NotJSON},
		{name: "zero bytes behind", line: "{\"count\":1}\x00\x00", punts: true, flaw: NotJSON},
		{name: "bad escape", line: `{"x":"\x"}`, punts: true, flaw: NotJSON},
		{name: "bad code point", line: `{"x":"\u00g0"}`, punts: true, flaw: NotJSON},
		{name: "bad literal", line: `{"bool":trui}`, punts: true, flaw: NotJSON},
		{name: "literal with a tail", line: `{"bool":truee}`, punts: true, flaw: NotJSON},
		{name: "single quotes", line: `{'count':1}`, punts: true, flaw: NotJSON},
		{name: "wrong bracket", line: `{"x":[1}`, punts: true, flaw: NotJSON},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := NewScanner(testSchema)
			flaw := s.Read([]byte(tc.line))
			if flaw != tc.flaw {
				t.Fatalf("Read: flaw %d, want %d", flaw, tc.flaw)
			}
			if diff := cmp.Diff(tc.want, shown(&s.Values)); flaw == Sound && diff != "" {
				t.Errorf("Read (-want +got):\n%s", diff)
			}
			// The second time the keys are known, the third time guessed from another line.
			for round := range 3 {
				ok := s.Scan([]byte(tc.line))
				if ok == tc.punts {
					t.Fatalf("round %d: Scan gives %v", round, ok)
				}
				if diff := cmp.Diff(tc.want, shown(&s.Values)); ok && diff != "" {
					t.Errorf("round %d: Scan (-want +got):\n%s", round, diff)
				}
				if round == 1 && !s.Scan([]byte(`{"bool":true,"x":1,"count":2,"time":3}`)) {
					t.Fatal("Scan")
				}
			}
		})
	}
}

// TestScannerManyKeys feeds more keys than are remembered, and long ones.
func TestScannerManyKeys(t *testing.T) {
	s := NewScanner(testSchema)
	for n := range 4 * MaxKeys {
		line := fmt.Sprintf(`{"k%d":1,"count":%d,%q:2,"text":"x","a-key-of-more-than-24-bytes-%d":null,"two":2}`,
			n, n, strings.Repeat("l", maxKeyLen+n%2), n%3)
		if !s.Scan([]byte(line)) {
			t.Fatalf("Scan: %s", line)
		}
		want := map[string]string{"count": strconv.Itoa(n), "text": "x", "two": "2"}
		if diff := cmp.Diff(want, shown(&s.Values)); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", line, diff)
		}
	}
	if used := s.keys[0].used; used != MaxKeys {
		t.Errorf("%d keys are remembered, want %d", used, MaxKeys)
	}
}

// agree checks that Scan says what Read says, or nothing.
func agree(t interface{ Fatalf(string, ...any) }, s *Scanner, line []byte) {
	if !s.Scan(line) {
		return
	}
	got := shown(&s.Values)
	r := NewScanner(testSchema)
	if flaw := r.Read(line); flaw != Sound {
		t.Fatalf("Scan takes a line with flaw %d: %q", flaw, line)
	}
	if diff := cmp.Diff(shown(&r.Values), got); diff != "" {
		t.Fatalf("%q (-Read +Scan):\n%s", line, diff)
	}
}

// TestScanAgainstRead draws lines from a grammar of all that is odd.
func TestScanAgainstRead(t *testing.T) {
	s := NewScanner(testSchema) // one for all, so that guesses go wrong
	rapid.Check(t, func(t *rapid.T) {
		agree(t, s, drawObject(t, 0))
	})
}

func drawObject(t *rapid.T, depth int) []byte {
	key := rapid.SampledFrom([]string{
		"presence", "text", "texts", "token", "raw", "count", "seconds", "time", "bool", "object", "two", "deux", "zwei",
		"inner", "", "x", "unknown key that is very long", `c\u006funt`, "ä",
	})
	space := rapid.SampledFrom([]string{"", "", "", "", " ", "\t\r\n "})
	var line strings.Builder
	line.WriteString(space.Draw(t, "space") + "{")
	for i := range rapid.IntRange(0, 6).Draw(t, "members") {
		if i > 0 {
			line.WriteString(space.Draw(t, "space") + ",")
		}
		line.WriteString(space.Draw(t, "space") + `"` + key.Draw(t, "key") + `"` + space.Draw(t, "space") + ":" +
			space.Draw(t, "space") + drawValue(t, depth) + space.Draw(t, "space"))
	}
	line.WriteString("}" + space.Draw(t, "space"))
	return []byte(line.String())
}

func drawValue(t *rapid.T, depth int) string {
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false", "tru", "nul", "", "[]", "{}", "[1]", `["a","b"]`, "-", "1.", "01", "1e"}).Draw(t, "odd")
	case 1, 2:
		return rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?`).Draw(t, "number")
	case 3, 4:
		return rapid.StringMatching(`(0|[1-9][0-9]{0,11})(\.[0-9]{1,10})?`).Draw(t, "number")
	case 5:
		b, _ := json.Marshal(rapid.String().Draw(t, "text"))
		return string(b)
	case 6:
		return `"` + rapid.StringMatching(`[ -!#-\[\]-~]{0,40}(\\["\\/bfnrtu]|\\u[0-9a-fA-F]{4})?[a-z]{0,9}`).Draw(t, "text") + `"`
	case 7:
		return `"` + rapid.StringMatching(`(1969|1970|20[0-9][0-9]|210[5-7])-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]([.,][0-9]{1,10})?(Z|[-+][0-2][0-9]:?[0-6][0-9])?`).Draw(t, "date") + `"`
	case 8:
		return rapid.StringMatching(`[1-9][0-9]{0,15}`).Draw(t, "number")
	}
	if depth < 2 {
		return string(drawObject(t, depth+1))
	}
	return "0"
}

func FuzzScanAgainstRead(f *testing.F) {
	for _, line := range []string{
		``, `{}`, `{"count":1,"time":1700000000.123456,"text":"abc","x":[{"y":null}],"object":{"zwei":7,"inner":"a"}}`,
		`{"presence":"\u0041","raw":{"a":[1,2.5e-3,true]},"token":"1","seconds":9.5e-05,"time":"2023-11-14T22:13:20.5+0100","bool":false}`,
	} {
		f.Add([]byte(line), []byte(line))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		s := NewScanner(testSchema)
		s.Scan(first)
		agree(t, s, second)
		agree(t, s, second)
	})
}

func TestScanAllocations(t *testing.T) {
	s := NewScanner(testSchema)
	line := []byte(`{"text":"tcp","x":["a",{}],"count":705,"seconds":9.5e-05,"time":"2023-11-14T22:13:20.5+0100","bool":true,"object":{"zwei":5}}`)
	if got := testing.AllocsPerRun(100, func() {
		if !s.Scan(line) {
			t.Fatal("Scan")
		}
	}); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

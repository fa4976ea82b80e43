package jsonscan

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       Flaw
	}{
		{"object", ` {"a":[1,"x"]} `, Sound},
		{"array", `[{},[]]`, Sound},
		{"scalar", `1`, NotJSON},
		{"nothing", ``, NotJSON},
		{"two", `{}{}`, NotJSON},
		{"NUL", "{\"a\":\"\x00\"}", NotJSON},
		{"NaN", `{"a":NaN}`, NotJSON},
		{"as deep as may be", strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth), Sound},
		{"one deeper", strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), TooDeep},
		{"deep and broken", strings.Repeat(`{"a":`, 100_000), TooDeep},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Check([]byte(tt.text)); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// FuzzUnescape holds Unescape to encoding/json.
func FuzzUnescape(f *testing.F) {
	for _, s := range []string{
		``, `a`, `\"`, `{\"ts\":1,\"uid\":\"C1\"}`, `\u0041\u00e9\u20ac\ud83d\ude00 tail of eight`, `\ud83d`, `\ud83dx`, `\ud83d\u0041`,
		`\\\/\b\f\n\r\t`, `12345678`, `1234567\n`, `1234567\u0041`, "\xff", `\udc00\ud800`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		quoted := []byte(`"` + content + `"`)
		end := Skip(quoted, 0, 0)
		if text, end2 := String([]byte("before"), quoted, 0); end2 != end || end < 0 && string(text) != "before" {
			t.Errorf("Skip ends at %d, String at %d: %q", end, end2, text)
		}
		if end != len(quoted) {
			return
		}
		var want string
		if err := json.Unmarshal(quoted, &want); err != nil {
			t.Fatalf("Skip passes what encoding/json does not: %v", err)
		}
		got := string(Unescape([]byte("before"), []byte(content)))
		// What is no UTF-8 stays as it is; encoding/json replaces it byte by byte.
		if want != strings.Map(func(r rune) rune { return r }, strings.TrimPrefix(got, "before")) || !strings.HasPrefix(got, "before") {
			t.Errorf("got %q, want %q", got, want)
		}
		if text, end := String([]byte("before"), append([]byte("xy"), quoted...), 2); string(text) != got || end != len(quoted)+2 {
			t.Errorf("String gives %q to %d, Unescape %q", text, end, got)
		}
		if len(got)-len("before") > len(content) {
			t.Errorf("longer than it was: %q", got)
		}
	})
}

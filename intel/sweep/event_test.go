package sweep

import (
	"bytes"
	"testing"
)

// FuzzEvent: whatever another process tells, it is read without harm, and what is read is written the same.
func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"v":1,"by":"x","done":"2025-01-01T00:00:00Z","name":{"name":"a.example","at":"2025-01-01T00:00:00Z","code":"NOERROR","chain":["b.example"],"belief":{"a":{"addrs":["5.5.0.9"],"seen":"2025-01-01T00:00:00Z"},"aaaa":{},"code":"noerror","at":"2025-01-01T00:00:00Z"}}}`))
	f.Add([]byte(`{"v":1,"by":"x","done":"2025-01-01T00:00:00Z","swept":true,"probe":{"Endpoint":"[2a00::1]:3333","At":"2025-01-01T00:00:00Z","Status":"confirmed","Evidence":[{"kind":"probe","strength":"proof","at":"2025-01-01T00:00:00Z","summary":"s","transcript":["t"]}]}}`))
	f.Add([]byte(`{"v":1,"probe":null,"name":{}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEvent(b)
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if e.Name != nil {
			_ = e.Name.observation()
		}
		once, err := e.encode()
		if err != nil {
			return // spelt out it may be longer than it was
		}
		again, err := parseEvent(once)
		if err != nil {
			t.Fatalf("%s cannot be read: %v", once, err)
		}
		if twice, err := again.encode(); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%s\nand then\n%s: %v", once, twice, err)
		}
	})
}

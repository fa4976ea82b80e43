//go:build services

package redis

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/minecanary/minecanary/internal/stack"
)

// TestAgree: a process whose windows would mean something else is refused, one like the first is not.
func TestAgree(t *testing.T) {
	svc := stack.Redis(t, stack.Single)
	with := func(report time.Duration) error {
		s, err := New(dial(t, ClientConfig{Mode: Single, Addrs: svc.Addrs}), Config{Report: report, Inactive: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.Agree(t.Context())
	}
	for range 2 {
		if err := with(time.Hour); err != nil {
			t.Error(err)
		}
	}
	if err := with(time.Minute); !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), "report.window") {
		t.Errorf("another window: %v", err)
	}
}

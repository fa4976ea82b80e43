package app

import (
	"testing"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
	"github.com/minecanary/minecanary/intel/feed"
)

// TestFormatsAreConfigurable holds the words of feed.formats against the forms there are.
func TestFormatsAreConfigurable(t *testing.T) {
	cfg := config.Default()
	for _, f := range feed.AllFormats() {
		cfg.Feed.Formats = append(cfg.Feed.Formats, string(f))
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	cfg.Feed.Formats = []string{"suricata"}
	if err := cfg.Validate(); err == nil {
		t.Error("a form that does not exist is accepted")
	}
}

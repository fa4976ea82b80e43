package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/minecanary/minecanary/cmd/minecanary/config"
)

// TestEgress: the way out is by literal addresses alone, and what belongs together comes together.
func TestEgress(t *testing.T) {
	tests := []struct {
		source, socks5, user, password string
		bad                            string // key to blame
	}{
		{},
		{source: "192.0.2.1"},
		{source: "192.0.2.1,2001:db8::1"},
		{source: "192.0.2.1,192.0.2.2", bad: "prober.source"},
		{source: "2001:db8::1,2001:db8::2", bad: "prober.source"},
		{source: "probe.example.net", bad: "prober.source[0]"},
		{source: "0.0.0.0", bad: "prober.source[0]"},
		{source: "::ffff:192.0.2.1", bad: "prober.source[0]"},
		{source: "fe80::1%eth0", bad: "prober.source[0]"},
		{source: "224.0.0.1", bad: "prober.source[0]"},
		{socks5: "192.0.2.9:1080"},
		{socks5: "[2001:db8::9]:1080", user: "u", password: "p"},
		{socks5: "proxy.example.net:1080", bad: "prober.socks5"},
		{socks5: "192.0.2.9", bad: "prober.socks5"},
		{socks5: "192.0.2.9:0", bad: "prober.socks5"},
		{socks5: "[::ffff:192.0.2.9]:1080", bad: "prober.socks5"},
		{socks5: "192.0.2.9:1080", user: "u", bad: "prober.socks5_user"},
		{socks5: "192.0.2.9:1080", password: "p", bad: "prober.socks5_user"},
		{socks5: "192.0.2.9:1080", user: "u", password: strings.Repeat("p", 256), bad: "prober.socks5_password"},
		{user: "u", password: "p", bad: "prober.socks5"},
		{socks5: "192.0.2.9:1080", source: "192.0.2.1"},
		{socks5: "192.0.2.9:1080", source: "2001:db8::1", bad: "prober.source"},
		{socks5: "[2001:db8::9]:1080", source: "192.0.2.1,2001:db8::1"},
	}
	for _, tt := range tests {
		_, err := config.Parse("", nil, nil,
			config.Setting{Name: "x", Path: "prober.source", Value: tt.source},
			config.Setting{Name: "x", Path: "prober.socks5", Value: tt.socks5},
			config.Setting{Name: "x", Path: "prober.socks5_user", Value: tt.user},
			config.Setting{Name: "x", Path: "prober.socks5_password", Value: tt.password})
		blamed := ""
		if p, ok := errors.AsType[config.Problems](err); ok && len(p) == 1 {
			blamed = p[0].Path
		}
		if blamed != tt.bad || err != nil && tt.bad == "" {
			t.Errorf("%+v: %v", tt, err)
		}
		if err != nil && tt.password != "" && strings.Contains(err.Error(), "pppp") {
			t.Errorf("the password is told: %v", err)
		}
	}
}

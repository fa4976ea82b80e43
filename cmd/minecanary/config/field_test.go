package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// future has the kinds that no key uses yet.
type future struct {
	Redis struct {
		Password string `yaml:"password" secret:"true" doc:"Word."`
		PIN      int    `yaml:"pin" secret:"true" min:"1000" max:"9999" doc:"Number."`
		Memory   Size   `yaml:"memory" min:"1KiB" max:"1GiB" doc:"Size."`
	} `yaml:"redis" doc:"Section."`
}

func loadFuture(text string) (*future, Problems) {
	f := &future{}
	l := loader{file: "f.yaml", origins: map[string]origin{}, bad: map[string]bool{}, sections: sectionsOf(reflect.ValueOf(f).Elem())}
	l.yaml([]byte(text))
	for _, fd := range fieldsOf(reflect.ValueOf(f).Elem()) {
		if reason := fd.check(fd.value); reason != "" && !l.bad[fd.path] {
			l.problems = append(l.problems, Problem{Path: fd.path, Reason: reason})
		}
	}
	return f, l.problems
}

func TestSecretAndSize(t *testing.T) {
	f, problems := loadFuture("redis:\n  password: hunter2\n  pin: 1234\n  memory: 64MiB\n")
	if problems != nil {
		t.Fatal(problems)
	}
	if f.Redis.Memory != 64<<20 {
		t.Errorf("memory is %d", f.Redis.Memory)
	}
	shown := show(sectionsOf(reflect.ValueOf(f).Elem()), sectionsOf(reflect.ValueOf(&future{}).Elem()))
	want := `
# Section.
redis:
  # Word.
  password: "********"
  # Number. From 1000 to 9999.
  pin: "********"
  # Size. From 1KiB to 1GiB.
  # Default: 0B
  memory: 64MiB
`
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Error(diff)
	}

	_, problems = loadFuture("redis:\n  password: 770011\n  pin: 12x4\n  memory: 64MB\n")
	wantProblems := `f.yaml:2: redis.password: must be text
f.yaml:3: redis.pin: must be a whole number
f.yaml:4: redis.memory: must be a size with its unit (B, KiB, MiB, GiB), such as 64MiB, not "64MB"`
	if diff := cmp.Diff(wantProblems, problems.Error()); diff != "" {
		t.Error(diff)
	}

	_, problems = loadFuture("redis:\n  pin: 12345\n  memory: 99999999999GiB\n")
	wantProblems = `f.yaml:3: redis.memory: must be a size with its unit (B, KiB, MiB, GiB), such as 64MiB, not "99999999999GiB"
redis.pin: must be from 1000 to 9999`
	if diff := cmp.Diff(wantProblems, problems.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestSizeString(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Size(rapid.Int64Min(0).Draw(t, "size"))
		f := field{kind: kindSize, value: reflect.ValueOf(new(Size)).Elem()}
		v, reason := f.parse(s.String())
		if reason != "" || Size(v.Int()) != s {
			t.Fatalf("%d is written %s and read as %v, %s", s, s, v, reason)
		}
	})
}

// TestTags keeps the declarations whole: every key has a sentence, a range that can be read, and a name like the others.
func TestTags(t *testing.T) {
	for _, s := range sectionsOf(reflect.ValueOf(Default()).Elem()) {
		if s.name == "" || !strings.HasSuffix(s.doc, ".") {
			t.Errorf("section %q: %q", s.name, s.doc)
		}
		for _, f := range s.fields {
			if f.name() == "" || f.name() != strings.ToLower(f.name()) || !strings.HasSuffix(f.doc, ".") {
				t.Errorf("%s: %q", f.path, f.doc)
			}
			for _, tag := range []string{f.min, f.max} {
				if tag == "" {
					continue
				}
				if _, reason := f.parse(tag); reason != "" {
					t.Errorf("%s: bound %s %s", f.path, tag, reason)
				}
			}
			if f.kind == kindInt || f.kind == kindFloat || f.kind == kindDuration {
				if f.min == "" || f.max == "" {
					t.Errorf("%s has no range", f.path)
				}
			}
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"mode", "contact", "per_client_hour"}
	for in, want := range map[string]string{
		"modee": "mode", "mdoe": "mode", "Mode": "mode", "contakt": "contact", "per_clients_hours": "per_client_hour", "wibble": "", "": "", strings.Repeat("m", 1<<16): "",
	} {
		if got := nearest(in, words); got != want {
			t.Errorf("%.20q is near %q, want %q", in, got, want)
		}
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestWritten: the file in the repository is what this program writes.
func TestWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	if err := run([]string{file}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../minecanary.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docker/kibana/minecanary.ndjson is not what gen writes: run go generate ./docker")
	}
	if run(nil) == nil {
		t.Error("no file, no error")
	}
}

// Minecanary finds cryptocurrency miners in the connection records of Zeek and Suricata.
package main

import (
	"context"
	"os"

	"github.com/minecanary/minecanary/cmd/minecanary/app"
)

func main() {
	os.Exit(app.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}

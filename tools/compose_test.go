// Package tools holds checks that need modules which the product does not have.
package tools

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"
)

// The files that are checked, from this folder.
const (
	composeFile = "../docker/compose.yaml"
	exampleEnv  = "../docker/.env.example"
	ownConfig   = "../docker/minecanary/minecanary.yaml"
	reference   = "../docs/config.md"
)

// required are the variables that the example leaves empty and that have no default.
var required = []string{"ELASTIC_PASSWORD", "KIBANA_PASSWORD", "MINECANARY_ES_PASSWORD", "REDIS_PASSWORD", "KIBANA_ENCRYPTION_KEY"}

// load reads the compose file as docker compose does, with all profiles and without this process's environment.
func load(ctx context.Context, files []string, environ ...string) (*types.Project, error) {
	options, err := cli.NewProjectOptions(files, cli.WithEnv(environ), cli.WithProfiles([]string{"*"}))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(ctx)
}

func filled() []string {
	var environ []string
	for _, name := range required {
		environ = append(environ, name+"=filled-in")
	}
	return environ
}

func TestCompose(t *testing.T) {
	project, err := load(t.Context(), []string{composeFile}, filled()...)
	if err != nil {
		t.Fatal(err)
	}
	keys := configKeys(t)
	for _, problem := range check(project, keys) {
		t.Error(problem)
	}
	want := []string{"elasticsearch", "kafka", "kibana", "minecanary-1", "minecanary-2", "redis", "shipper", "zeek-live", "zeek-pcap"}
	for _, name := range want {
		if _, ok := project.Services[name]; !ok {
			t.Errorf("no service %s", name)
		}
	}
}

// TestComposeRefusesMissingSecrets: without one of them nothing starts with an empty password.
func TestComposeRefusesMissingSecrets(t *testing.T) {
	for _, name := range required {
		t.Run(name, func(t *testing.T) {
			environ := slices.DeleteFunc(filled(), func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
			if _, err := load(t.Context(), []string{composeFile}, environ...); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v, want one that names %s", err, name)
			}
		})
	}
}

var variable = regexp.MustCompile(`\$\{([A-Z_]+)`)

// TestExampleEnvironment: the example names exactly the variables of the compose file.
func TestExampleEnvironment(t *testing.T) {
	used := map[string]bool{"COMPOSE_PROFILES": true} // read by docker compose itself
	for _, m := range variable.FindAllStringSubmatch(read(t, composeFile), -1) {
		used[m[1]] = true
	}
	named := map[string]bool{}
	for line := range strings.Lines(read(t, exampleEnv)) {
		if name, _, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			named[name] = true
		}
	}
	if want, got := slices.Sorted(maps.Keys(used)), slices.Sorted(maps.Keys(named)); !slices.Equal(want, got) {
		t.Errorf("the compose file uses %q, the example names %q", want, got)
	}
}

// TestOwnConfiguration: every key of the file that Minecanary is given stands in the reference.
func TestOwnConfiguration(t *testing.T) {
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(read(t, ownConfig)), &tree); err != nil {
		t.Fatal(err)
	}
	keys := configKeys(t)
	var walk func(path string, v any)
	walk = func(path string, v any) {
		if section, ok := v.(map[string]any); ok {
			for k, v := range section {
				walk(strings.TrimPrefix(path+"."+k, "."), v)
			}
			return
		}
		if !slices.Contains(keys, path) {
			t.Errorf("%s: %s does not know %s", ownConfig, reference, path)
		}
	}
	walk("", tree)
}

// TestMinecanaryTakesIt asks the binary itself: every service's configuration and environment, command and health check.
func TestMinecanaryTakesIt(t *testing.T) {
	project, err := load(t.Context(), []string{composeFile}, filled()...)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "minecanary")
	if out, err := exec.CommandContext(t.Context(), "go", "-C", "..", "build", "-o", binary, "./cmd/minecanary").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for name, s := range project.Services {
		if !strings.HasPrefix(s.Image, "minecanary/") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			commands := [][]string{
				{"config", "check", "--config", ownConfig},
				append(slices.Clone(s.Command), "--help"), // finds out about commands and flags, and does nothing
			}
			if s.HealthCheck != nil && !s.HealthCheck.Disable {
				commands = append(commands, append(slices.Clone(s.HealthCheck.Test[2:]), "--help"))
			}
			for _, args := range commands {
				c := exec.CommandContext(t.Context(), binary, args...)
				for k, v := range s.Environment {
					if v != nil {
						c.Env = append(c.Env, k+"="+*v)
					}
				}
				if out, err := c.CombinedOutput(); err != nil {
					t.Errorf("minecanary %s: %v\n%s", strings.Join(args, " "), err, out)
				}
			}
		})
	}
}

var from = regexp.MustCompile(`(?m)^FROM (?:--\S+ )?(\S+)`)

func TestDockerfile(t *testing.T) {
	images := from.FindAllStringSubmatch(read(t, "../docker/Dockerfile"), -1)
	if len(images) < 2 {
		t.Fatalf("%d stages, want at least 2", len(images))
	}
	for _, m := range images {
		if m[1] != "scratch" && !pinned(m[1]) {
			t.Errorf("image %s is not pinned", m[1])
		}
	}
	if last := images[len(images)-1][1]; last != "scratch" {
		t.Errorf("the image is made from %s, want scratch", last)
	}
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "\nUSER 65532:65532\n", "\nHEALTHCHECK ", "ca-certificates.crt"} {
		if !strings.Contains(read(t, "../docker/Dockerfile"), want) {
			t.Errorf("no %q", want)
		}
	}
}

// TestCheckFindsProblems: each change to the project is found, by a problem that names it.
func TestCheckFindsProblems(t *testing.T) {
	for _, tt := range []struct{ name, override, want string }{
		{"latest", "services: {redis: {image: 'redis:latest'}}", "redis: image redis:latest is not pinned"},
		{"no tag", "services: {redis: {image: redis}}", "redis: image redis is not pinned"},
		{"no tag at a port", "services: {redis: {image: 'registry.example:5000/redis'}}", "is not pinned"},
		{"major version", "services: {redis: {image: 'redis:7-alpine'}}", "redis: image redis:7-alpine is not pinned"},
		{"no health check", "services: {redis: {healthcheck: {disable: true}}}", "redis: no health check"},
		{"privileged", "services: {zeek-live: {privileged: true}}", "zeek-live: privileged"},
		{"capability", "services: {redis: {cap_add: [SYS_ADMIN]}}", "redis: capability SYS_ADMIN"},
		{"host network", "services: {redis: {network_mode: host}}", "redis: network host"},
		{"socket", "services: {redis: {volumes: ['/var/run/docker.sock:/s']}}", "redis: mounts /var/run/docker.sock"},
		{"missing file", "services: {redis: {volumes: ['./nowhere.conf:/r.conf:ro']}}", "nowhere.conf"},
		{"writable file", "services: {redis: {volumes: ['./compose.yaml:/r.conf']}}", "compose.yaml can be written"},
		{"port for all", "services: {redis: {ports: ['6379:6379']}}", "redis: port 6379"},
		{"unknown variable", "services: {minecanary-1: {environment: {MINECANARY_NO_SUCH: x}}}", "MINECANARY_NO_SUCH"},
		{"root", "services: {minecanary-1: {user: '0:0'}}", `minecanary-1: user "0:0"`},
		{"named user", "services: {minecanary-1: {user: nobody}}", `minecanary-1: user "nobody"`},
		{"writable root", "services: {minecanary-2: {read_only: false}}", "minecanary-2: the root is not read-only"},
		{"no limit", "services: {redis: {deploy: {resources: {limits: !reset null}}}}", "redis: no limits"},
		{"waits for health of a one-shot", "services: {redis: {depends_on: {users: {condition: service_healthy}}}}", "redis waits for the health of users"},
		{"waits for the end of a server", "services: {redis: {depends_on: {kibana: {condition: service_completed_successfully}}}}", "redis waits for the end of kibana"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			override := filepath.Join(t.TempDir(), "override.yaml")
			if err := os.WriteFile(override, []byte(tt.override), 0o600); err != nil {
				t.Fatal(err)
			}
			project, err := load(t.Context(), []string{composeFile, override}, filled()...)
			if err != nil {
				t.Fatal(err)
			}
			problems := check(project, configKeys(t))
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, tt.want) }) {
				t.Errorf("no problem with %q in %q", tt.want, problems)
			}
		})
	}
	t.Run("not compose", func(t *testing.T) {
		override := filepath.Join(t.TempDir(), "override.yaml")
		if err := os.WriteFile(override, []byte("services: {redis: {no_such_key: 1}}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := load(t.Context(), []string{composeFile, override}, filled()...); err == nil {
			t.Error("an unknown key was accepted")
		}
	})
}

// check tells what is wrong with a project, sorted.
func check(project *types.Project, keys []string) []string {
	var problems []string
	for name, s := range project.Services {
		say := func(format string, args ...any) {
			problems = append(problems, name+": "+fmt.Sprintf(format, args...))
		}
		if own := s.Build != nil && strings.Contains(s.Image, ":") && !strings.HasSuffix(s.Image, ":latest"); !own && !pinned(s.Image) {
			say("image %s is not pinned", s.Image)
		}
		if !once(s) && (s.HealthCheck == nil || s.HealthCheck.Disable) {
			say("no health check, and it does not run once")
		}
		for dependency, d := range s.DependsOn {
			switch ends := once(project.Services[dependency]); {
			case ends && d.Condition == types.ServiceConditionHealthy:
				problems = append(problems, name+" waits for the health of "+dependency+", which ends")
			case !ends && d.Condition == types.ServiceConditionCompletedSuccessfully:
				problems = append(problems, name+" waits for the end of "+dependency+", which goes on")
			}
		}
		if s.Deploy == nil || s.Deploy.Resources.Limits == nil || s.Deploy.Resources.Limits.MemoryBytes == 0 || s.Deploy.Resources.Limits.NanoCPUs == 0 {
			say("no limits of memory and processors")
		}
		privileges(name, s, say)
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				say("port %d is published on %q, not on 127.0.0.1", p.Target, p.HostIP)
			}
		}
		mounts(project, s, say)
		for variable := range s.Environment {
			if strings.HasPrefix(variable, "MINECANARY_") && strings.HasPrefix(s.Image, "minecanary/") &&
				!slices.ContainsFunc(keys, func(key string) bool { return environment(key) == variable }) {
				say("%s does not know %s", reference, variable)
			}
		}
	}
	slices.Sort(problems)
	return problems
}

// once tells whether a service runs once and ends.
func once(s types.ServiceConfig) bool { return s.Restart == "no" }

var number = regexp.MustCompile(`^[1-9][0-9]*(:[1-9][0-9]*)?$`)

// privileges checks what a service may do.
func privileges(name string, s types.ServiceConfig, say func(string, ...any)) {
	if s.Privileged {
		say("privileged")
	}
	if !slices.Contains(s.CapDrop, "ALL") {
		say("keeps capabilities")
	}
	if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
		say("may gain privileges")
	}
	// Capturing needs the host's interfaces and raw packets; nothing else does.
	for _, c := range s.CapAdd {
		if name != "zeek-live" || c != "NET_RAW" && c != "NET_ADMIN" {
			say("capability %s", c)
		}
	}
	if name != "zeek-live" && s.NetworkMode == "host" || s.Pid == "host" || s.Ipc == "host" {
		say("network %s, pid %s, ipc %s", s.NetworkMode, s.Pid, s.Ipc)
	}
	if strings.HasPrefix(s.Image, "minecanary/") {
		if !number.MatchString(s.User) {
			say("user %q is root or not a number", s.User)
		}
		if !s.ReadOnly {
			say("the root is not read-only")
		}
		if len(s.Tmpfs) == 0 {
			say("no folder for temporary files")
		}
	}
}

// mounts checks that what is mounted from the host stands in the repository and cannot be written, and that volumes are
// declared.
func mounts(project *types.Project, s types.ServiceConfig, say func(string, ...any)) {
	root, err := filepath.Abs("..")
	if err != nil {
		say("%v", err)
		return
	}
	for _, v := range s.Volumes {
		switch v.Type {
		case types.VolumeTypeBind:
			inside, err := filepath.Rel(root, v.Source)
			if err != nil || !filepath.IsLocal(inside) {
				say("mounts %s, which is not in the repository", v.Source)
			} else if _, err := os.Stat(v.Source); err != nil {
				say("mounts what is not there: %v", err)
			}
			if !v.ReadOnly {
				say("%s can be written", v.Source)
			}
		case types.VolumeTypeVolume:
			if _, ok := project.Volumes[v.Source]; !ok || v.Source == "" {
				say("volume %q has no name that is declared", v.Source)
			}
		}
	}
}

// version is a tag that names one release: three numbers, with what may follow.
var version = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+([-.][a-z0-9.-]+)?$`)

// pinned tells whether an image has a tag that names one release, or a digest.
func pinned(image string) bool {
	if strings.Contains(image, "@sha256:") {
		return true
	}
	last := image[strings.LastIndexByte(image, '/')+1:]
	_, tag, _ := strings.Cut(last, ":")
	return version.MatchString(tag)
}

var key = regexp.MustCompile("(?m)^\\| `([a-z0-9_]+(?:\\.[a-z0-9_]+)+)` \\|")

// configKeys are the keys of the configuration reference.
func configKeys(t *testing.T) []string {
	t.Helper()
	var keys []string
	for _, m := range key.FindAllStringSubmatch(read(t, reference), -1) {
		keys = append(keys, m[1])
	}
	if len(keys) < 20 {
		t.Fatalf("%s has %d keys", reference, len(keys))
	}
	return keys
}

// environment is the variable of a key.
func environment(key string) string {
	return "MINECANARY_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

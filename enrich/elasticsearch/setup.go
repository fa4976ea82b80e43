package elasticsearch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/minecanary/minecanary/docker"
)

// settingsTemplate is the component template that holds the retention.
const settingsTemplate = "minecanary@settings"

// kinds of templates in the order in which they are installed: an index template names component templates.
var kinds = []string{"component_template", "index_template"}

// Setup installs the templates, each only if it is missing or says something else than ours, and tells which it changed
// ("component_template minecanary@settings"). It does not try again.
//
// Mappings and settings take hold when a data stream is made or rolled over next, the retention for data streams that
// are made from now on (PUT _data_stream/NAME/_lifecycle changes one that is there).
func (c *Client) Setup(ctx context.Context) (changed []string, err error) {
	for _, kind := range kinds {
		files, err := fs.Glob(docker.Elasticsearch, "elasticsearch/"+kind+"/*.json")
		if err != nil || len(files) == 0 {
			return changed, fmt.Errorf("no files of kind %s: %w", kind, err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(path.Base(file), ".json")
			want, err := c.template(file)
			if err != nil {
				return changed, fmt.Errorf("read %s: %w", file, err)
			}
			have, err := c.installed(ctx, kind, name)
			if err != nil {
				return changed, fmt.Errorf("read %s %s: %w", kind, name, err)
			}
			if have != nil && same(want, have) {
				continue
			}
			if err := c.install(ctx, kind, name, want); err != nil {
				return changed, fmt.Errorf("install %s %s: %w", kind, name, err)
			}
			changed = append(changed, kind+" "+name)
		}
	}
	return changed, nil
}

// template reads a template, with the retention that was asked for.
func (c *Client) template(file string) (map[string]any, error) {
	b, err := docker.Elasticsearch.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var t map[string]any
	if err := json.Unmarshal(b, &t); err != nil {
		return nil, err
	}
	if path.Base(file) == settingsTemplate+".json" {
		inner, ok := t["template"].(map[string]any)
		if !ok {
			return nil, errors.New("no template in it")
		}
		inner["lifecycle"] = map[string]any{"data_retention": retention(c.cfg.Retention)}
	}
	return t, nil
}

// retention writes a duration in Elasticsearch's time units.
func retention(d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0:
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	case d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}

// installed gives a template as the server has it, nil if it has none.
func (c *Client) installed(ctx context.Context, kind, name string) (map[string]any, error) {
	var req doer = esapi.ClusterGetComponentTemplateRequest{Name: []string{name}}
	if kind == "index_template" {
		req = esapi.IndicesGetIndexTemplateRequest{Name: name}
	}
	var answer map[string][]map[string]any
	if err := c.ask(ctx, req, &answer); err != nil {
		var f *failure
		if errors.As(err, &f) && f.status == http.StatusNotFound {
			return nil, nil //nolint:nilnil // nil is the answer
		}
		return nil, err
	}
	for _, t := range answer[kind+"s"] {
		if found, ok := t[kind].(map[string]any); ok && t["name"] == name {
			return found, nil
		}
	}
	return nil, nil //nolint:nilnil // as above
}

func (c *Client) install(ctx context.Context, kind, name string, template map[string]any) error {
	body, err := json.Marshal(template)
	if err != nil {
		return err
	}
	var req doer = esapi.ClusterPutComponentTemplateRequest{Name: name, Body: bytes.NewReader(body)}
	if kind == "index_template" {
		req = esapi.IndicesPutIndexTemplateRequest{Name: name, Body: bytes.NewReader(body)}
	}
	return c.ask(ctx, req, &struct{}{})
}

// ask does a request of the setup. Its error has Elasticsearch's words, which can quote templates alone here.
func (c *Client) ask(ctx context.Context, req doer, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	res, err := req.Do(ctx, c.perform)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read to its end, or given up
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		var told struct {
			Error *esReason `json:"error"`
		}
		f := &failure{what: "elasticsearch", status: res.StatusCode}
		if json.Unmarshal(b, &told) == nil && told.Error != nil {
			f.reason = told.Error.String()
			if f.status == http.StatusUnauthorized || f.status == http.StatusForbidden {
				f.reason = told.Error.Type // its words may repeat what it was asked with
			}
		}
		return f
	}
	return json.Unmarshal(b, answer)
}

// same tells whether two templates mean the same, although Elasticsearch writes numbers in settings as texts, adds its
// defaults, and orders as it likes. What the server's has beyond ours at the top (dates of creation) does not count.
func same(want, have map[string]any) bool {
	for key, w := range want {
		if !reflect.DeepEqual(normal(key, w), normal(key, have[key])) {
			return false
		}
	}
	for _, key := range []string{"template", "version", "priority", "composed_of", "data_stream", "ignore_missing_component_templates"} {
		if _, ok := want[key]; !ok && normal(key, have[key]) != nil {
			return false
		}
	}
	return true
}

// defaults are what Elasticsearch adds by itself, by the name of the object they are in.
var defaults = map[string]map[string]string{
	"data_stream": {"hidden": "false", "allow_custom_routing": "false"},
	"lifecycle":   {"enabled": "true"},
}

// normal gives a value with every number and boolean as text, settings by their full names, and no defaults. An empty
// object stays one: data_stream {} is not the same as none.
func normal(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, inner := range v {
			n := normal(k, inner)
			if text, ok := n.(string); ok && defaults[key][k] == text {
				continue
			}
			out[k] = n
		}
		if key == "settings" {
			flat := map[string]any{}
			flatten(flat, "", out)
			return flat
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = normal("", v[i])
		}
		return out
	case nil:
		return nil
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

func flatten(out map[string]any, prefix string, in map[string]any) {
	for k, v := range in {
		if inner, ok := v.(map[string]any); ok {
			flatten(out, prefix+k+".", inner)
			continue
		}
		out["index."+strings.TrimPrefix(prefix+k, "index.")] = v
	}
}

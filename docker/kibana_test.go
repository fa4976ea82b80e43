package docker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The checker proves the shape of the saved objects: what Kibana 8's schemas say of their keys
// (src/plugins/dashboard/server/dashboard_saved_object/schema, src/plugins/saved_search/server/saved_objects in
// elastic/kibana), that what refers is there, and that Elasticsearch can aggregate each field as a panel wants. It does
// not prove that a Kibana imports them; there is none to be had here.

// gridWidth is the number of columns of a dashboard.
const gridWidth = 48

// attributeKeys are the attributes that an object of a type may have, required ones first behind "!". Kibana refuses
// unknown ones.
var attributeKeys = map[string][]string{
	"index-pattern": {"!title", "!timeFieldName", "name", "fields", "fieldAttrs", "fieldFormatMap", "runtimeFieldMap", "sourceFilters", "typeMeta", "type", "allowNoIndex"},
	"search": {
		"!title", "!kibanaSavedObjectMeta", "!columns", "!sort", "description", "grid", "hideChart", "isTextBasedQuery", "rowHeight", "rowsPerPage",
		"breakdownField", "timeRestore", "timeRange", "refreshInterval", "viewMode", "hits", "version",
	},
	"dashboard": {
		"!title", "!kibanaSavedObjectMeta", "!panelsJSON", "!optionsJSON", "description", "timeRestore", "timeFrom", "timeTo", "refreshInterval",
		"controlGroupInput", "hits", "version",
	},
}

var panelKeys = []string{"!type", "!gridData", "!panelIndex", "!embeddableConfig", "version", "title", "panelRefName"}

// allowed are the types of fields that an operation of Lens may work on.
var allowed = map[string][]string{
	"terms":          {"keyword", "ip", "long", "boolean"},
	"date_histogram": {"date"},
	"unique_count":   {"keyword", "ip", "long", "boolean", "date"},
	"max":            {"long", "float", "double", "date"},
	"min":            {"long", "float", "double", "date"},
	"sum":            {"long", "float", "double"},
	"average":        {"long", "float", "double"},
}

// dataTypes are Lens's words for types of fields.
var dataTypes = map[string][]string{
	"string": {"keyword"}, "ip": {"ip"}, "number": {"long", "float", "double"}, "date": {"date"}, "boolean": {"boolean"},
}

type savedObject struct {
	ID         string         `json:"id"`
	Type       string         `json:"type"`
	Attributes map[string]any `json:"attributes"`
	References *[]reference   `json:"references"`
}

type reference struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
}

// checker collects problems.
type checker struct {
	objects  map[string]*savedObject // by type and id
	patterns []string                // index patterns of the templates
	fields   map[string]string       // types by name
	problems []string
}

func (c *checker) say(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// check gives what is wrong with saved objects.
func check(ndjson []byte, patterns []string, fields map[string]string) []string {
	c := &checker{objects: map[string]*savedObject{}, patterns: patterns, fields: fields}
	if !bytes.HasSuffix(ndjson, []byte("\n")) {
		c.say("the last line has no end")
	}
	var order []*savedObject
	for i, line := range bytes.Split(bytes.TrimSuffix(ndjson, []byte("\n")), []byte("\n")) {
		var o savedObject
		if err := json.Unmarshal(line, &o); err != nil {
			c.say("line %d: %v", i+1, err)
			continue
		}
		if o.ID == "" || attributeKeys[o.Type] == nil || o.Attributes == nil || o.References == nil {
			c.say("line %d: id, a known type, attributes and references are needed", i+1)
			continue
		}
		key := o.Type + " " + o.ID
		if c.objects[key] != nil {
			c.say("%s stands there twice", key)
		}
		c.objects[key] = &o
		order = append(order, &o)
	}
	for _, o := range order {
		c.object(o)
	}
	return c.problems
}

// keys tells of missing and unknown keys.
func (c *checker) keys(where string, got map[string]any, known []string) {
	for _, key := range known {
		if name, ok := strings.CutPrefix(key, "!"); ok {
			if _, ok := got[name]; !ok {
				c.say("%s: %s is missing", where, name)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if !slices.Contains(known, key) && !slices.Contains(known, "!"+key) {
			c.say("%s: unknown key %s", where, key)
		}
	}
}

// parse reads JSON in strings: every key that ends in JSON, at any depth.
func (c *checker) parse(where string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			s, isText := inner.(string)
			switch {
			case strings.HasSuffix(key, "JSON") && !isText:
				c.say("%s: %s is no string", where, key)
			case strings.HasSuffix(key, "JSON"):
				var parsed any
				if err := json.Unmarshal([]byte(s), &parsed); err != nil {
					c.say("%s: %s: %v", where, key, err)
					continue
				}
				c.parse(where, parsed)
			default:
				c.parse(where, inner)
			}
		}
	case []any:
		for _, inner := range v {
			c.parse(where, inner)
		}
	}
}

func (c *checker) object(o *savedObject) {
	where := o.Type + " " + o.ID
	c.keys(where, o.Attributes, attributeKeys[o.Type])
	before := len(c.problems)
	c.parse(where, o.Attributes)
	names := map[string]reference{}
	for _, r := range *o.References {
		if c.objects[r.Type+" "+r.ID] == nil {
			c.say("%s: reference %s leads to %s %s, which is not there", where, r.Name, r.Type, r.ID)
		}
		names[r.Name] = r
	}
	if len(c.problems) > before {
		return // what follows relies on it
	}
	switch o.Type {
	case "index-pattern":
		if title, _ := o.Attributes["title"].(string); !slices.Contains(c.patterns, title) {
			c.say("%s: no template is for %q", where, title)
		}
		c.field(where, o.Attributes["timeFieldName"], []string{"date"})
	case "search":
		c.searchSource(where, o.Attributes, names)
		for _, column := range list(o.Attributes["columns"]) {
			c.field(where, column, nil)
		}
		for _, by := range list(o.Attributes["sort"]) {
			c.field(where, list(by)[0], []string{"date", "keyword", "long", "float", "double", "ip"})
		}
	case "dashboard":
		c.searchSource(where, o.Attributes, names)
		c.dashboard(where, o, names)
	}
}

func (c *checker) searchSource(where string, attributes map[string]any, names map[string]reference) {
	var source struct {
		Query struct {
			Query string `json:"query"`
		} `json:"query"`
		IndexRefName string `json:"indexRefName"`
	}
	c.decode(where, object(attributes["kibanaSavedObjectMeta"])["searchSourceJSON"], &source)
	if name := source.IndexRefName; name != "" && names[name].ID == "" {
		c.say("%s: no reference %s", where, name)
	}
	c.query(where, source.Query.Query)
}

// kql finds the fields in a query of Kibana.
var kql = regexp.MustCompile(`([A-Za-z@_][A-Za-z0-9_.@]*)\s*[:<>]`)

func (c *checker) query(where, query string) {
	for _, found := range kql.FindAllStringSubmatch(query, -1) {
		c.field(where, found[1], nil)
	}
}

// field tells of a field that no template has, or whose type is none of those given (nil: any that is indexed).
func (c *checker) field(where string, name any, types []string) {
	field, _ := name.(string)
	switch kind := c.fields[field]; {
	case kind == "":
		c.say("%s: no field %q in the templates", where, field)
	case types != nil && !slices.Contains(types, kind):
		c.say("%s: %s is %s, not one of %v", where, field, kind, types)
	}
}

func (c *checker) decode(where string, text, into any) {
	s, _ := text.(string)
	if err := json.Unmarshal([]byte(s), into); err != nil {
		c.say("%s: %v", where, err)
	}
}

type grid struct{ X, Y, W, H int }

func (c *checker) dashboard(where string, o *savedObject, names map[string]reference) {
	var panels []map[string]any
	c.decode(where, o.Attributes["panelsJSON"], &panels)
	if len(panels) == 0 {
		c.say("%s: no panels", where)
	}
	places := map[string]grid{}
	used := map[string]bool{}
	for _, panel := range panels {
		index, _ := panel["panelIndex"].(string)
		where := where + " panel " + index
		c.keys(where, panel, panelKeys)
		data := object(panel["gridData"])
		number := func(key string) int { n, _ := data[key].(float64); return int(n) }
		g := grid{number("x"), number("y"), number("w"), number("h")}
		if data["i"] != panel["panelIndex"] || index == "" {
			c.say("%s: gridData.i is %v", where, data["i"])
		}
		if g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > gridWidth {
			c.say("%s: %+v does not lie in the grid", where, g)
		}
		for other, o := range places {
			if g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H {
				c.say("%s: overlaps panel %s", where, other)
			}
		}
		if _, ok := places[index]; ok {
			c.say("%s: the index is taken", where)
		}
		places[index] = g
		if name, ok := panel["panelRefName"].(string); ok {
			name = index + ":" + name
			used[name] = true
			if r := names[name]; r.Type != panel["type"] {
				c.say("%s: no reference %s to a %v", where, name, panel["type"])
			}
			continue
		}
		if panel["type"] != "lens" {
			c.say("%s: type %v is not known", where, panel["type"])
			continue
		}
		for _, name := range c.lens(where, object(object(panel["embeddableConfig"])["attributes"])) {
			name = index + ":" + name
			used[name] = true
			if names[name].Type != "index-pattern" {
				c.say("%s: no reference %s to a data view", where, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !used[name] {
			c.say("%s: nothing needs the reference %s", where, name)
		}
	}
}

// lens checks a chart and gives the names of the references it needs.
func (c *checker) lens(where string, attributes map[string]any) (needed []string) {
	inner := map[string]bool{}
	for _, r := range list(attributes["references"]) {
		name, _ := object(r)["name"].(string)
		inner[name] = true
	}
	state := object(attributes["state"])
	query, _ := object(state["query"])["query"].(string)
	c.query(where, query)
	layers := object(object(object(state["datasourceStates"])["formBased"])["layers"])
	if len(layers) == 0 {
		c.say("%s: no layers", where)
	}
	columns := map[string]map[string]any{}
	for id, v := range layers {
		name := "indexpattern-datasource-layer-" + id
		needed = append(needed, name)
		if !inner[name] {
			c.say("%s: the chart has no reference %s", where, name)
		}
		layer := object(v)
		columns[id] = object(layer["columns"])
		order := list(layer["columnOrder"])
		if len(order) != len(columns[id]) {
			c.say("%s: %d columns in order, %d in all", where, len(order), len(columns[id]))
		}
		for _, name := range order {
			c.column(where, fmt.Sprint(name), columns[id])
		}
	}
	visualization := object(state["visualization"])
	switch attributes["visualizationType"] {
	case "lnsXY":
		for _, v := range list(visualization["layers"]) {
			l := object(v)
			have := columns[fmt.Sprint(l["layerId"])]
			needs := append(list(l["accessors"]), l["xAccessor"])
			if split, ok := l["splitAccessor"]; ok {
				needs = append(needs, split)
			}
			c.shown(where, have, needs)
		}
	case "lnsDatatable":
		var needs []any
		for _, v := range list(visualization["columns"]) {
			needs = append(needs, object(v)["columnId"])
		}
		c.shown(where, columns[fmt.Sprint(visualization["layerId"])], needs)
	default:
		c.say("%s: chart %v is not known", where, attributes["visualizationType"])
	}
	return needed
}

// shown: a chart shows every column of its layer and no other.
func (c *checker) shown(where string, have map[string]any, needs []any) {
	for _, id := range needs {
		if _, ok := have[fmt.Sprint(id)]; !ok {
			c.say("%s: no column %v", where, id)
		}
	}
	if len(needs) != len(have) {
		c.say("%s: %d columns are shown of %d", where, len(needs), len(have))
	}
}

func (c *checker) column(where, id string, columns map[string]any) {
	column := object(columns[id])
	where += " " + id
	operation, _ := column["operationType"].(string)
	if operation == "count" {
		if column["sourceField"] != "___records___" || column["isBucketed"] != false {
			c.say("%s: counts %v", where, column["sourceField"])
		}
		return
	}
	types, ok := allowed[operation]
	if !ok {
		c.say("%s: operation %q is not known", where, operation)
		return
	}
	c.field(where, column["sourceField"], types)
	kind := c.fields[fmt.Sprint(column["sourceField"])]
	if operation == "unique_count" {
		kind = "long"
	}
	if shown := fmt.Sprint(column["dataType"]); kind != "" && !slices.Contains(dataTypes[shown], kind) {
		c.say("%s: a column of %s is shown as %s", where, kind, shown)
	}
	if bucket := operation == "terms" || operation == "date_histogram"; column["isBucketed"] != bucket {
		c.say("%s: isBucketed is %v", where, column["isBucketed"])
	}
	if operation == "terms" {
		by := object(object(column["params"])["orderBy"])
		if _, ok := columns[fmt.Sprint(by["columnId"])]; by["type"] == "column" && !ok {
			c.say("%s: ordered by %v, which is not there", where, by["columnId"])
		}
	}
}

func object(v any) map[string]any { o, _ := v.(map[string]any); return o }
func list(v any) []any            { l, _ := v.([]any); return l }

// templates reads the index patterns, and the types of all fields that can be searched; those in nested objects are left
// out, since Kibana's charts cannot see them.
func templates(t *testing.T) (patterns []string, fields map[string]string) {
	t.Helper()
	read := func(file string) map[string]any {
		b, err := Elasticsearch.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		return v
	}
	files, err := Elasticsearch.ReadDir("elasticsearch/index_template")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		for _, p := range list(read("elasticsearch/index_template/" + f.Name())["index_patterns"]) {
			patterns = append(patterns, fmt.Sprint(p))
		}
	}
	fields = map[string]string{}
	var walk func(prefix string, properties map[string]any)
	walk = func(prefix string, properties map[string]any) {
		for name, v := range properties {
			p := object(v)
			kind, _ := p["type"].(string)
			switch {
			case p["properties"] != nil && kind != "nested":
				walk(prefix+name+".", object(p["properties"]))
			case kind != "nested" && p["index"] != false:
				fields[prefix+name] = kind
			}
		}
	}
	mappings := object(object(read("elasticsearch/component_template/minecanary-ecs@mappings.json")["template"])["mappings"])
	walk("", object(mappings["properties"]))
	return patterns, fields
}

func TestKibana(t *testing.T) {
	patterns, fields := templates(t)
	for _, problem := range check(Kibana, patterns, fields) {
		t.Error(problem)
	}
	for _, want := range []string{`"Mining overview"`, `"dashboard"`, `"search"`} {
		if !bytes.Contains(Kibana, []byte(want)) {
			t.Errorf("no %s", want)
		}
	}
}

// TestKibanaChecker: the checker finds what is broken in copies.
func TestKibanaChecker(t *testing.T) {
	patterns, fields := templates(t)
	for _, tt := range []struct{ name, old, instead, want string }{
		{"no JSON", `{"id":"minecanary-probes"`, `{"id":`, "line 2: "},
		{"no end", "\n", "", "the last line has no end"},
		{"no id", `"id":"minecanary-hits","type":"index-pattern","coreM`, `"type":"index-pattern","coreM`, "line 1: id, a known type"},
		{"unknown type", `"type":"search","coreM`, `"type":"lens-thing","coreM`, "line 4: id, a known type"},
		{"no references", `,"references":[]}`, `}`, "references are needed"},
		{"dangling reference", `{"id":"minecanary-hits","name":"2:`, `{"id":"minecanary-hats","name":"2:`, "leads to index-pattern minecanary-hats"},
		{"object that others need", `{"id":"minecanary-pools","type":"index-pattern","core`, `{"id":"minecanary-pool","type":"index-pattern","core`, "leads to index-pattern minecanary-pools"},
		{"missing reference", `"name":"3:indexpattern-datasource-layer-layer"`, `"name":"3:other"`, "no reference 3:indexpattern-datasource-layer-layer"},
		{"missing panel reference", `\"panelRefName\":\"panel_8\"`, `\"panelRefName\":\"panel_9\"`, "no reference 8:panel_9"},
		{"twice", `{"id":"minecanary-probes"`, `{"id":"minecanary-hits"`, "stands there twice"},
		{"unknown field", `\"sourceField\":\"minecanary.coin\"`, `\"sourceField\":\"minecanary.coins\"`, `no field "minecanary.coins"`},
		{"unknown column of the search", `"source.ip"`, `"source.ips"`, `no field "source.ips"`},
		{"field of a type that has no terms", `\"sourceField\":\"minecanary.coin\"`, `\"sourceField\":\"message\"`, "message is text"},
		{"nested field", `\"sourceField\":\"minecanary.coin\"`, `\"sourceField\":\"minecanary.criteria.name\"`, "no field"},
		{"histogram of a word", `\"sourceField\":\"@timestamp\"`, `\"sourceField\":\"event.id\"`, "event.id is keyword"},
		{"wrong kind", `\"dataType\":\"ip\"`, `\"dataType\":\"string\"`, "a column of ip is shown as string"},
		{"no template", `"title":"logs-minecanary.hit-*"`, `"title":"logs-minecanary.*"`, "no template is for"},
		{"time field", `"timeFieldName":"@timestamp"`, `"timeFieldName":"event.id"`, "event.id is keyword"},
		{"overlap", `\"x\":32,\"y\":0`, `\"x\":31,\"y\":0`, "overlaps panel"},
		{"out of the grid", `\"x\":32,\"y\":0`, `\"x\":33,\"y\":0`, "does not lie in the grid"},
		{"no height", `\"h\":18`, `\"h\":0`, "does not lie in the grid"},
		{"index and grid differ", `\"i\":\"2\"`, `\"i\":\"3\"`, "gridData.i"},
		{"index taken", `\"panelIndex\":\"2\"`, `\"panelIndex\":\"1\"`, "the index is taken"},
		{"broken JSON string", `"panelsJSON":"[`, `"panelsJSON":"[[`, "panelsJSON: "},
		{"JSON that is no string", `"optionsJSON":"`, `"optionsJSON":1,"hits":"`, "optionsJSON is no string"},
		{"broken search source", `"searchSourceJSON":"{`, `"searchSourceJSON":"`, "searchSourceJSON: "},
		{"unknown attribute", `"timeRestore"`, `"timeRestores"`, "unknown key timeRestores"},
		{"missing attribute", `"title":"Mining overview"`, `"description":"x"`, "title is missing"},
		{"unknown panel key", `\"version\":\"8.11.0\"`, `\"versions\":\"8.11.0\"`, "unknown key versions"},
		{"column without a layer", `\"xAccessor\":\"column-1\"`, `\"xAccessor\":\"column-9\"`, "no column column-9"},
		{"order by nothing", `\"columnId\":\"column-2\",\"type\":\"column\"`, `\"columnId\":\"column-9\",\"type\":\"column\"`, "ordered by column-9"},
		{"unknown operation", `\"operationType\":\"unique_count\"`, `\"operationType\":\"cardinality\"`, "is not known"},
		{"query", `"searchSourceJSON":"{\"filter\":[],\"query\":{\"language\":\"kuery\",\"query\":\"\"}}"`, `"searchSourceJSON":"{\"query\":{\"query\":\"event.kinds : alert\"}}"`, `no field "event.kinds"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := bytes.ReplaceAll(Kibana, []byte(tt.old), []byte(tt.instead))
			if bytes.Equal(broken, Kibana) {
				t.Fatalf("no %s in the file", tt.old)
			}
			problems := check(broken, patterns, fields)
			if !strings.Contains(strings.Join(problems, "\n"), tt.want) {
				t.Errorf("got %q, want %s", problems, tt.want)
			}
		})
	}
}

// TestTemplates: the patterns are those of data streams, and each template is made of components that are there.
func TestTemplates(t *testing.T) {
	files, err := Elasticsearch.ReadDir("elasticsearch/index_template")
	if err != nil || len(files) != 3 {
		t.Fatalf("%d templates, %v", len(files), err)
	}
	for _, f := range files {
		b, err := Elasticsearch.ReadFile("elasticsearch/index_template/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		var template struct {
			Patterns []string        `json:"index_patterns"`
			Stream   *map[string]any `json:"data_stream"`
			Priority int             `json:"priority"`
			Parts    []string        `json:"composed_of"`
		}
		if err := json.Unmarshal(b, &template); err != nil {
			t.Fatal(err)
		}
		// Elastic's own template for logs-*-* has 100, its integrations' 200.
		if template.Priority <= 200 || template.Stream == nil || len(template.Parts) == 0 {
			t.Errorf("%s: %+v", f.Name(), template)
		}
		if want := strings.TrimSuffix(f.Name(), ".json") + "-*"; !slices.Equal(template.Patterns, []string{want}) {
			t.Errorf("%s: patterns %v", f.Name(), template.Patterns)
		}
		for _, part := range template.Parts {
			if _, err := Elasticsearch.ReadFile(path.Join("elasticsearch/component_template", part+".json")); err != nil {
				t.Error(err)
			}
		}
	}
}

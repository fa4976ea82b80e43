# Minecanary. `make run` shows what it does, `make test` checks it; `make help` lists the rest.

GO       ?= go
BIN      := bin/minecanary
FUZZTIME ?= 10s
# Tools are pinned in their own module, so that the product's go.sum stays small.
LINT     := bin/golangci-lint
TOOLS    := tools

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/minecanary
	$(GO) build -trimpath -o $(BIN) ./cmd/minecanary

.PHONY: run
run: build ## show the whole way on bundled logs, with sparring pools on loopback
	@./$(BIN) demo

.PHONY: test
test: ## vet, run all tests that need nothing but Go
	$(GO) vet ./...
	$(GO) test ./...

.PHONY: race
race: ## run the tests under the race detector
	$(GO) test -race -short ./...

.PHONY: test-services
test-services: build ## run the tests with real Kafka, Redis and Elasticsearch (docs/distributed.md says what they need)
	./test/services.sh
	$(GO) test -count=1 -tags services -timeout 60m -p 1 ./cmd/... ./consumer/kafka/... ./enrich/... ./internal/... ./prober ./test/...

.PHONY: test-suricata
test-suricata: ## run a real Suricata with our rules and configuration (docs/suricata.md)
	./test/services.sh
	$(GO) test -count=1 -tags services -timeout 20m ./test/suricata/...

.PHONY: test-api
test-api: ## hold the API against its description with schemathesis (from PyPI)
	./test/schemathesis.sh

.PHONY: test-feed
test-feed: ## hold the feed against Suricata, named-checkzone, stix2 and pymisp (from apt and PyPI)
	./test/feed-readers.sh

.PHONY: test-zeek-scripts
test-zeek-scripts: ## hold the Zeek package against zeek-format, zkg and itself (from PyPI); its btests where zeek is
	./test/zeek-scripts.sh

.PHONY: chaos
chaos: build ## the crash runs at full size: 10 M records, 50 kills
	./test/services.sh
	CHAOS_RECORDS=10000000 CHAOS_KILLS=50 $(GO) test -count=1 -tags services -timeout 180m -run TestChaos -v ./cmd/minecanary

.PHONY: bench
bench: build ## print every figure of the documentation
	./bench/run.sh

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 10s)
	GO="$(GO)" FUZZTIME="$(FUZZTIME)" ./test/fuzz.sh

.PHONY: lint
lint: $(LINT) ## gofumpt, staticcheck and the other linters, the rules between packages, docker/compose.yaml
	$(GO) vet ./...
	./$(LINT) run --build-tags services ./...
	./test/fuzz-coverage.sh
	cd $(TOOLS) && $(GO) test -count=1 ./...

$(LINT): $(TOOLS)/go.mod $(TOOLS)/go.sum
	cd $(TOOLS) && $(GO) build -o ../$(LINT) github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: golden
golden: ## write generated pages and golden files anew
	$(GO) test ./cmd/minecanary/config -update

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

// Package minecanary holds the words of the project as plain types: what a sensor writes (Record), what one client
// sent one endpoint (Slices), what adds up per client and endpoint (Aggregate), what is known of an endpoint (Verdict)
// and what is reported (Hit).
//
// The rooms (consumer, enrich, prober, intel) import this package; it imports none of them.
package minecanary

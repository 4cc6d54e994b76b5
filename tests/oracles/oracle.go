// The vendor's own library for Go, asked over standard input and output: the same requests and answers
// as oracle.py, which describes them.
//
// go-pagerduty verifies only. The secret is text.
//   - Any `v1=` of the list counts. It is split at `,` without trimming: `v1=a,v1=b` are two, and after
//     `, ` an item is not seen. Items of other names, `V1` too, and hex that is none, are skipped.
//   - Hex in either case: the one library here that takes upper case. No time is signed. Names of headers
//     in any case.
//   - The empty body is an error. Of a body longer than 2 MiB the first 2 MiB alone are verified: the
//     signature over the whole fails, and one over the beginning passes.
//   - A header without any `v1=` is the same error as a missing one. The secret may be empty.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/PagerDuty/go-pagerduty/webhookv3"
)

type request struct {
	Provider string            `json:"provider"`
	Do       string            `json:"do"`
	Secret   string            `json:"secret"`
	Body     []byte            `json:"body"`
	Headers  map[string]string `json:"headers"`
}

func verify(asked request) map[string]any {
	received, err := http.NewRequest("POST", "/", bytes.NewReader(asked.Body))
	if err != nil {
		return map[string]any{"fault": err.Error()}
	}
	for name, value := range asked.Headers {
		received.Header.Set(name, value)
	}
	if err := webhookv3.VerifySignature(received, asked.Secret); err != nil {
		return map[string]any{"ok": false, "error": err.Error()}
	}
	return map[string]any{"ok": true}
}

func answer(asked request) map[string]any {
	switch {
	case asked.Provider != "pagerduty":
		return map[string]any{"fault": "no provider " + asked.Provider}
	case asked.Do == "verify":
		return verify(asked)
	case asked.Do == "sign":
		return map[string]any{"headers": nil, "error": "webhookv3 has VerifySignature only"}
	}
	return map[string]any{"fault": "cannot do " + asked.Do}
}

func main() {
	requests, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var asked request
		err := requests.Decode(&asked)
		if err == io.EOF {
			return
		}
		if err == nil {
			err = answers.Encode(answer(asked))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

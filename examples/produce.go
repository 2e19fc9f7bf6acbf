// Sends a call to callmeter over HTTP: go run produce.go [GATEWAY]   (the standard library only)
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"
)

type counts struct {
	InputTokens  int `json:"input_tokens"`
	OutputTokens int `json:"output_tokens"`
}

type summary struct {
	Usage map[string]counts `json:"usage"`
}

type call struct {
	ProjectID string    `json:"project_id"`
	ID        string    `json:"id"`
	OpName    string    `json:"op_name"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	Exception *string   `json:"exception"`
	Summary   summary   `json:"summary"`
}

// send returns when the broker has acknowledged all of the calls.
func send(gateway string, calls []call) error {
	body, err := json.Marshal(map[string]any{"batch": calls})
	if err != nil {
		return err
	}
	for tries := 0; tries < 10; tries++ {
		request, err := http.NewRequest("POST", gateway+"/v2/acme/agents/calls/complete", bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.SetBasicAuth("api", os.Getenv("CALLMETER_KEY"))
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == 200 {
				return nil
			}
			if response.StatusCode != 429 && response.StatusCode < 500 {
				return fmt.Errorf("refused: %s", response.Status)
			}
		}
		time.Sleep(time.Second)
	}
	return fmt.Errorf("the gateway did not take the calls")
}

func main() {
	gateway := "http://127.0.0.1:8080"
	if len(os.Args) > 1 {
		gateway = os.Args[1]
	}
	id := make([]byte, 16)
	rand.Read(id)
	now := time.Now()
	one := call{
		ProjectID: "acme/agents", ID: fmt.Sprintf("%x", id), OpName: "llm", StartedAt: now, EndedAt: now.Add(100 * time.Millisecond),
		Summary: summary{Usage: map[string]counts{"gpt-4o": {InputTokens: 1200, OutputTokens: 150}}},
	}
	if err := send(gateway, []call{one}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(one.ID)
}

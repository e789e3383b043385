package interop

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/minio/kms-go/kes"
)

func TestConcurrentCallsDoNotMixUpTheirAnswers(t *testing.T) {
	// More at a time than one HTTP/2 connection takes: the SDK must open a second.
	t.Run("300 at a time over HTTP/2", func(t *testing.T) { rush(t, connect(t, appKey), 300, 5) })
	t.Run("100 at a time over HTTP/1.1", func(t *testing.T) {
		app := http1(t, appKey)
		transport(app).MaxConnsPerHost = 50
		transport(app).MaxIdleConnsPerHost = 50
		rush(t, app, 100, 5)
	})
}

// rush has each of many workers make data keys and open them, with a context that only it knows.
func rush(t *testing.T, app *kes.Client, workers, rounds int) {
	names := []string{newKey(t), newKey(t), newKey(t)}
	ctx := background(t)
	failures := make(chan error, workers)
	plaintexts := sync.Map{}
	var running sync.WaitGroup
	for worker := range workers {
		running.Add(1)
		go func() {
			defer running.Done()
			for round := range rounds {
				context := fmt.Appendf(nil, "%d/%d", worker, round)
				name := names[(worker+round)%len(names)]
				dek, err := app.GenerateKey(ctx, name, context)
				if err != nil {
					failures <- fmt.Errorf("generate: %w", err)
					return
				}
				if _, isKnown := plaintexts.LoadOrStore(string(dek.Plaintext), true); isKnown {
					failures <- fmt.Errorf("a data key was given out twice")
					return
				}
				opened, err := app.Decrypt(ctx, name, dek.Ciphertext, context)
				if err != nil {
					failures <- fmt.Errorf("decrypt: %w", err)
					return
				}
				if !bytes.Equal(opened, dek.Plaintext) {
					failures <- fmt.Errorf("another plaintext came back")
					return
				}
			}
		}()
	}
	running.Wait()
	if len(failures) > 0 {
		t.Fatalf("%d of %d workers failed, one with: %v", len(failures), workers, <-failures)
	}
}

func TestOfConcurrentCreatesExactlyOneWins(t *testing.T) {
	admin, name := connect(t, adminKey), unused("my-app-")
	ctx := background(t)
	var won, lost atomic.Int32
	var running sync.WaitGroup
	for range 50 {
		running.Add(1)
		go func() {
			defer running.Done()
			switch err := admin.CreateKey(ctx, name); err {
			case nil:
				won.Add(1)
			case kes.ErrKeyExists:
				lost.Add(1)
			default:
				t.Errorf("unexpected error: %v", err)
			}
		}()
	}
	running.Wait()
	equal(t, "winners", won.Load(), 1)
	equal(t, "losers", lost.Load(), 49)
}

func countDials(client *kes.Client) *atomic.Int32 {
	var dials atomic.Int32
	dial := transport(client).DialContext
	transport(client).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, address)
	}
	return &dials
}

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"
)

// Requests at a rate of their own, whether others are answered or not: how clients that know nothing of each other ask.
// Prints for each status how many a second, and how long after they were due they were answered. Those of the first seconds are not counted.
func open(cs []*http.Client, method, url, body string, rate float64, dur, skip time.Duration) {
	type answer struct {
		status int
		took   time.Duration
	}
	var mu sync.Mutex
	var answers []answer
	var wg sync.WaitGroup
	begin := time.Now()
	for i := 0; ; i++ {
		due := begin.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if due.Sub(begin) >= skip+dur {
			break
		}
		time.Sleep(time.Until(due))
		wg.Add(1)
		go func(c *http.Client) {
			defer wg.Done()
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
			status := 0
			resp, err := c.Do(req)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				status = resp.StatusCode
			}
			if err != nil {
				status = 0
			}
			if due.Sub(begin) < skip {
				return
			}
			mu.Lock()
			answers = append(answers, answer{status, time.Since(due)})
			mu.Unlock()
		}(cs[i%len(cs)])
	}
	wg.Wait()
	took := map[int][]float64{}
	for _, a := range answers {
		took[a.status] = append(took[a.status], a.took.Seconds()*1000)
	}
	for status, l := range took {
		sort.Float64s(l)
		fmt.Printf("status %d  req/s %.0f  p50 %.3fms p99 %.3fms\n", status, float64(len(l))/dur.Seconds(), l[len(l)/2], l[len(l)*99/100])
	}
}

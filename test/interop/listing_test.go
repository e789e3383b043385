package interop

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/minio/kms-go/kes"
)

const (
	many     = 2500
	manyName = "my-app-many-"
	pageSize = 1024
)

// makeMany makes keys, some at a time, and returns their names in order.
func makeMany(t *testing.T, prefix string, count int) []string {
	t.Helper()
	admin, names := connect(t, adminKey), make([]string, count)
	jobs, failures := make(chan string), make(chan error, count)
	var workers sync.WaitGroup
	ctx := background(t)
	for range 32 {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for name := range jobs {
				if err := admin.CreateKey(ctx, name); err != nil {
					failures <- err
				}
			}
		}()
	}
	for i := range names {
		names[i] = fmt.Sprintf("%s%04d", prefix, i)
		jobs <- names[i]
	}
	close(jobs)
	workers.Wait()
	if len(failures) > 0 {
		t.Fatalf("%d of %d keys were not made: %v", len(failures), count, <-failures)
	}
	return names
}

// all is what the SDK's iterator sees from a prefix on.
func all[T any](t *testing.T, list *kes.ListIter[T], prefix string) []T {
	t.Helper()
	var items []T
	item, err := list.SeekTo(background(t), prefix)
	for ; err == nil; item, err = list.Next(background(t)) {
		if items = append(items, item); len(items) > 2*many {
			t.Fatal("the iteration does not end")
		}
	}
	wants(t, err, io.EOF)
	return items
}

func TestAListingOfManyKeys(t *testing.T) {
	names := makeMany(t, manyName, many)
	// Neighbours that must not be seen.
	makeMany(t, "my-app-man", 3)
	makeMany(t, "my-app-many", 3)
	admin, app := connect(t, adminKey), connect(t, appKey)

	t.Run("comes in pages that follow upon each other", func(t *testing.T) {
		var got []string
		var sizes []int
		for at := manyName; ; {
			page, next, err := admin.ListKeys(background(t), at, -1)
			ok(t, err)
			got, sizes = append(got, page...), append(sizes, len(page))
			if next == "" {
				break
			}
			if at = next; len(sizes) > 10 {
				t.Fatal("the pages do not end")
			}
		}
		equal(t, "every key once and in order", slices.Equal(got, names), true)
		equal(t, "sizes", fmt.Sprint(sizes), fmt.Sprint([]int{pageSize, pageSize, many - 2*pageSize}))
	})

	t.Run("is seen by the iterator, every key exactly once", func(t *testing.T) {
		for who, client := range map[string]*kes.Client{"the admin": admin, "an application": app} {
			list := kes.ListIter[string]{NextFunc: client.ListKeys}
			got := all(t, &list, manyName)
			if !slices.Equal(got, names) {
				t.Errorf("%s sees %d keys instead of %d", who, len(got), len(names))
			}
		}
	})

	t.Run("is the same with a star behind the prefix", func(t *testing.T) {
		list := kes.ListIter[string]{NextFunc: admin.ListKeys}
		equal(t, "every key once and in order", slices.Equal(all(t, &list, manyName+"*"), names), true)
	})

	t.Run("without a prefix has every key of the server", func(t *testing.T) {
		list := kes.ListIter[string]{NextFunc: admin.ListKeys}
		got := all(t, &list, "")
		equal(t, "sorted, none twice", slices.IsSortedFunc(got, strictly), true)
		got = slices.DeleteFunc(got, func(name string) bool { return !strings.HasPrefix(name, manyName) })
		equal(t, "has them all", slices.Equal(got, names), true)
	})

	t.Run("without a prefix is not the application's", func(t *testing.T) {
		_, _, err := app.ListKeys(background(t), "", -1)
		wants(t, err, kes.ErrNotAllowed)
	})

	t.Run("cannot be entered by a token of somebody else's prefix", func(t *testing.T) {
		_, _, err := app.ListKeys(background(t), "~"+names[0], -1)
		wants(t, err, kes.ErrNotAllowed)
		_, _, err = app.ListKeys(background(t), manyName+"~other", -1)
		wants(t, err, kes.NewError(400, "listing pattern '"+manyName+"~other' is empty, too long or is invalid"))
	})
}

func TestKeysThatStayAreSeenOnceWhileOthersComeAndGo(t *testing.T) {
	prefix := unused("my-app-") + "-"
	names := makeMany(t, prefix, pageSize+10)
	admin := connect(t, adminKey)
	list := kes.ListIter[string]{NextFunc: admin.ListKeys}
	got := []string{}
	item, err := list.SeekTo(background(t), prefix)
	ok(t, err)
	// The iterator holds the first page now. The second would begin at the key that goes.
	ok(t, admin.DeleteKey(background(t), names[pageSize]))
	ok(t, admin.DeleteKey(background(t), names[3]))
	ok(t, admin.CreateKey(background(t), prefix+"0000a"))
	for ; err == nil; item, err = list.Next(background(t)) {
		got = append(got, item)
	}
	wants(t, err, io.EOF)
	equal(t, "every key that stays", slices.Equal(got, slices.Delete(names, pageSize, pageSize+1)), true)
}

func TestAListingOfNothingIsEmpty(t *testing.T) {
	admin, prefix := connect(t, adminKey), unused("absent-")
	names, next, err := admin.ListKeys(background(t), prefix, -1)
	ok(t, err)
	equal(t, "names", len(names), 0)
	equal(t, "continue at", next, "")
	list := kes.ListIter[string]{NextFunc: admin.ListKeys}
	_, err = list.SeekTo(background(t), prefix)
	wants(t, err, io.EOF)
}

func TestABadPatternIsRefused(t *testing.T) {
	admin := connect(t, adminKey)
	for _, pattern := range []string{"a*b", "**", "_", "-a", "a.b"} {
		_, _, err := admin.ListKeys(background(t), pattern, -1)
		var refusal kes.Error
		if !errors.As(err, &refusal) || refusal.Status() != 400 {
			t.Errorf("%q: got error %v", pattern, err)
		}
	}
}

// strictly makes equal neighbours count as unsorted.
func strictly(a, b string) int {
	if a > b {
		return 1
	}
	return -1
}

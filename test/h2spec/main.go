// h2spec, with a client certificate: its own command has no flag for one.
// Arguments: port, path of the requests, certificate file, key file.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
)

func main() {
	port, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	passed, err := h2spec.Run(&config.Config{
		Host:         "127.0.0.1",
		Port:         port,
		Path:         os.Args[2],
		CertFile:     os.Args[3],
		CertKeyFile:  os.Args[4],
		Timeout:      5 * time.Second,
		MaxHeaderLen: 4000,
		Strict:       true,
		TLS:          true,
		Insecure:     true,
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	if !passed {
		os.Exit(1)
	}
}

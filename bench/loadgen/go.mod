module openkes/bench/loadgen

go 1.22

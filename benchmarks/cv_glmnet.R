# Times glmnet and cv.glmnet on a workload that cv_worker.py has laid out, and prints one line of JSON. Next: cv_worker.py.
suppressPackageStartupMessages({library(glmnet); library(Matrix)})
folder <- commandArgs(trailingOnly = TRUE)[1]
repeats <- as.integer(commandArgs(trailingOnly = TRUE)[2])
numbers <- function(name, what = "double", size = 8) {
  file <- file.path(folder, name)
  readBin(file, what, n = file.size(file) / size, size = size)
}
shape <- numbers("shape.bin")
y <- numbers("y.bin")
lambdas <- numbers("lambdas.bin")
fold <- as.integer(numbers("fold.bin"))
if (file.exists(file.path(folder, "indices.bin"))) {
  X <- new("dgCMatrix", x = numbers("data.bin"), i = numbers("indices.bin", "integer", 4),
           p = numbers("indptr.bin", "integer", 4), Dim = as.integer(shape))
} else {
  X <- matrix(numbers("X.bin"), shape[1], shape[2])
}
family <- if (readLines(file.path(folder, "loss.txt")) == "logistic") "binomial" else "gaussian"
peak <- function(reset = FALSE) {
  if (reset) try(cat("5", file = "/proc/self/clear_refs"), silent = TRUE)
  line <- grep("VmHWM", readLines("/proc/self/status"), value = TRUE)
  1024 * as.numeric(gsub("[^0-9]", "", line))
}
timed <- function(work) {
  peak(reset = TRUE)
  spent <- system.time(work())
  c(spent[["elapsed"]], spent[["user.self"]] + spent[["sys.self"]], peak())
}
options <- list(x = X, y = y, family = family, lambda = lambdas, standardize = FALSE)
path <- sapply(seq_len(repeats), function(k) timed(function() do.call(glmnet, options)))
cv <- sapply(seq_len(repeats), function(k) timed(function() do.call(cv.glmnet, c(options, list(foldid = fold)))))
line <- function(m) sprintf("{\"wall\": %g, \"cpu\": %g, \"peak_bytes\": %.0f}", median(m[1, ]), median(m[2, ]), max(m[3, ]))
cat(sprintf("{\"version\": \"%s\", \"path\": %s, \"cv\": %s}\n", as.character(packageVersion("glmnet")), line(path), line(cv)))

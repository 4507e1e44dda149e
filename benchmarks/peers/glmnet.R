# Reads a matrix once, then fits on request: one line "thresh" in, one line "seconds" out, the path beside it as raw doubles.
suppressMessages(library(glmnet))
given <- commandArgs(trailingOnly = TRUE)
folder <- given[1]; family <- given[2]; n <- as.integer(given[3]); p <- as.integer(given[4]); entries <- as.numeric(given[5])
values <- function(name, kind, size) {
  file <- file(file.path(folder, name), "rb")
  on.exit(close(file))
  found <- vector(kind, size)
  at <- 0
  while (at < size) {
    step <- min(size - at, 2^26)
    found[(at + 1):(at + step)] <- readBin(file, kind, step)
    at <- at + step
  }
  found
}
if (entries < 0) {
  X <- values("X.raw", "double", as.numeric(n) * p)
  dim(X) <- c(n, p)
} else {
  X <- new("dgCMatrix", x = values("data.raw", "double", entries), i = values("indices.raw", "integer", entries),
           p = values("indptr.raw", "integer", p + 1), Dim = c(n, p))
}
y <- values("y.raw", "double", n)
lambda <- values("lambdas.raw", "double", as.integer(given[6]))
method <- if (n > p) "covariance" else "naive"
glmnet.control(fdev = 0, devmax = 1)  # by default the path ends early, where deviance stops changing
input <- file("stdin", "r")
cat("ready", as.character(packageVersion("glmnet")), "\n")
flush(stdout())
while (length(line <- readLines(input, 1)) == 1) {
  fit <- glmnet(X, y, family = family, lambda = lambda, standardize = FALSE, thresh = as.numeric(line), maxit = 1e8,
                type.gaussian = method)
  b <- fit$beta
  writeBin(c(as.numeric(fit$a0), as.numeric(b@x)), file.path(folder, "path.double"))
  writeBin(c(length(fit$lambda), length(b@x), b@i, b@p), file.path(folder, "path.integer"))
  cat("done\n")
  flush(stdout())
}

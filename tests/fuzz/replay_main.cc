// Runs a fuzz target over files, or all files of a folder, without libFuzzer. A finding aborts.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> inputs_of(int argc, char** argv) {
  std::vector<fs::path> files;
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) {
      files.emplace_back(argv[i]);
      continue;
    }
    for (const auto& entry : fs::directory_iterator(argv[i])) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace

int main(int argc, char** argv) {
  const auto files = inputs_of(argc, argv);
  for (const auto& path : files) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "cannot read %s\n", path.c_str());
      return 1;
    }
    // A heap block of its exact size, so that a sanitizer sees a read past the end.
    const std::vector<char> text((std::istreambuf_iterator<char>(file)), {});
    const std::vector<uint8_t> input(text.begin(), text.end());
    std::fprintf(stderr, "%s: %zu bytes\n", path.filename().c_str(), input.size());
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  if (files.empty()) std::fprintf(stderr, "no corpus\n");
  return files.empty() ? 1 : 0;
}

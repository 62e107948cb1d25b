//! How long each of the hottest paths takes.

use criterion::{Criterion, criterion_group, criterion_main};
use moat_paths::PATHS;

fn all(criterion: &mut Criterion) {
    for path in PATHS {
        let mut pass = (path.begin)();
        criterion.bench_function(path.name, |bencher| bencher.iter(&mut pass));
    }
}

criterion_group!(paths, all);
criterion_main!(paths);

//! Deep networks.
#![allow(dead_code)]
#[cfg(test)]
mod check;
mod convolution;
mod kernel;
mod pooling;

#[cfg(test)]
mod bench {
    use super::convolution::convolve;
    use super::pooling::pool;
    use candle_core::{DType, Device, Tensor, Var};
    #[test]
    fn speed() {
        let n = 8;
        let input = Tensor::ones((n, 32, 32, 1), DType::F32, &Device::Cpu).unwrap();
        let mk = |s: (usize, usize, usize, usize)| {
            (
                Var::from_tensor(
                    &Tensor::ones(s, DType::F32, &Device::Cpu)
                        .unwrap()
                        .affine(0.01, 0.)
                        .unwrap(),
                )
                .unwrap(),
                Var::zeros(s.3, DType::F32, &Device::Cpu).unwrap(),
            )
        };
        let w = [
            mk((3, 3, 1, 16)),
            mk((3, 3, 16, 16)),
            mk((3, 3, 16, 32)),
            mk((3, 3, 32, 32)),
            mk((3, 3, 32, 64)),
            mk((3, 3, 64, 64)),
            mk((1, 1, 64, 2)),
        ];
        let c = |x: &Tensor, i: usize| {
            convolve(x, w[i].0.as_tensor(), w[i].1.as_tensor(), i < 6).unwrap()
        };
        let fwd = || {
            let x = pool(&c(&c(&input, 0), 1)).unwrap();
            let x = pool(&c(&c(&x, 2), 3)).unwrap();
            c(&c(&c(&x, 4), 5), 6)
        };
        fwd();
        let t = std::time::Instant::now();
        for _ in 0..100 {
            fwd();
        }
        let f = t.elapsed().as_secs_f64() / 100.0 / n as f64;
        let t = std::time::Instant::now();
        for _ in 0..100 {
            fwd().sum_all().unwrap().backward().unwrap();
        }
        let b = t.elapsed().as_secs_f64() / 100.0 / n as f64;
        println!(
            "forward {:.1} us/sample, step {:.1} us/sample = {:.0}/s per core",
            f * 1e6,
            b * 1e6,
            1.0 / b
        );
        for i in [1usize, 3] {
            let x = Tensor::ones(
                if i == 1 {
                    (n, 30, 30, 16)
                } else {
                    (n, 12, 12, 32)
                },
                DType::F32,
                &Device::Cpu,
            )
            .unwrap();
            let t = std::time::Instant::now();
            for _ in 0..300 {
                c(&x, i);
            }
            let s = t.elapsed().as_secs_f64() / 300.0 / n as f64;
            let mac = if i == 1 {
                28. * 28. * 144. * 16.
            } else {
                100. * 288. * 32.
            };
            println!(
                "layer {i}: {:.1} us, {:.1} GFLOP/s",
                s * 1e6,
                2. * mac / s / 1e9
            );
        }
    }
}

//! Linear equations with a symmetric, positive definite matrix.

/// The x of A x = b, by the factors of Cholesky; `matrix` is A, (n, n), row after row, of which the lower half is read.
///
/// `None` where A is not positive definite, as far as rounding tells.
///
/// # Panics
/// If the matrix is not n rows of n.
pub(crate) fn solve(mut matrix: Vec<f64>, mut values: Vec<f64>) -> Option<Vec<f64>> {
    let n = values.len();
    assert!(matrix.len() == n * n, "{} numbers for {n} rows of {n}", matrix.len());
    for column in 0..n {
        for row in column..n {
            let known = dot(&matrix[row * n..][..column], &matrix[column * n..][..column]);
            let rest = matrix[row * n + column] - known;
            matrix[row * n + column] = if row == column {
                Some(rest).filter(|rest| *rest > 0.0 && rest.is_finite())?.sqrt()
            } else {
                rest / matrix[column * n + column]
            };
        }
    }
    for row in 0..n {
        let (known, rest) = values.split_at_mut(row);
        rest[0] = (rest[0] - dot(&matrix[row * n..][..row], known)) / matrix[row * n + row];
    }
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|below| matrix[below * n + row] * values[below]).sum();
        values[row] = (values[row] - known) / matrix[row * n + row];
    }
    Some(values)
}

/// The sum of the products, first to last.
pub(crate) fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Draw;

    #[test]
    fn the_solution_multiplied_out_gives_the_right_side() {
        let mut draw = Draw::new(71, 0);
        for n in [1, 2, 5, 17] {
            let root: Vec<f64> = (0..n * n).map(|_| draw.normal()).collect();
            let product = |i: usize, j: usize| dot(&root[i * n..][..n], &root[j * n..][..n]);
            let matrix: Vec<f64> = (0..n * n)
                .map(|at| product(at / n, at % n) + if at % (n + 1) == 0 { 0.5 } else { 0.0 })
                .collect();
            let right: Vec<f64> = (0..n).map(|_| draw.normal()).collect();
            let solution = solve(matrix.clone(), right.clone()).unwrap();
            for (row, right) in matrix.chunks(n).zip(&right) {
                assert!((dot(row, &solution) - right).abs() < 1e-9, "{n}");
            }
        }
        assert_eq!(solve(Vec::new(), Vec::new()), Some(Vec::new()));
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_has_no_factors() {
        assert_eq!(solve(vec![1.0, 2.0, 2.0, 1.0], vec![1.0, 1.0]), None);
        assert_eq!([solve(vec![0.0], vec![1.0]), solve(vec![f64::NAN], vec![1.0])], [None, None]);
    }
}

//! What lies between the shop and the door: requests that are late, that come twice, and whose answers are lost; a
//! shop that hears nothing, or that nothing was stored, sends again.

use etalage::runtime::Door;
use etalage_model::Outcome;
use etalage_serve::{Door as _, NotStored};
use etalage_tests::seed::Random;
use rand::RngExt;
use tokio::sync::oneshot::{Receiver, error::TryRecvError};

use crate::shop::{Request, Shop};

type Answer = Receiver<Result<Vec<Outcome>, NotStored>>;

#[derive(Default)]
pub(crate) struct Network {
    /// On their way to the door, in any order.
    under_way: Vec<Request>,
    /// Delivered, and not answered.
    delivered: Vec<(Request, Answer)>,
    /// What of it occurred, by name.
    pub(crate) occurred: Vec<&'static str>,
}

impl Network {
    pub(crate) fn send(&mut self, request: Request, random: &mut Random) {
        if random.random_bool(0.08) {
            self.occurred.push("request_twice");
            self.under_way.push(request.clone());
        }
        self.under_way.push(request);
    }

    /// Requests that are not done with.
    pub(crate) fn len(&self) -> usize {
        self.under_way.len() + self.delivered.len()
    }

    /// Delivers one; it comes back where the door is closed.
    ///
    /// # Errors
    /// Where a body that has a good line was not read.
    pub(crate) fn deliver(&mut self, door: &Door, random: &mut Random) -> Result<(), String> {
        if self.under_way.is_empty() {
            return Ok(());
        }
        let at = random.random_range(0..self.under_way.len());
        if at > 0 {
            self.occurred.push("request_reordered");
        }
        let request = self.under_way.swap_remove(at);
        let batch = match door.decode(request.kind, &request.body) {
            Ok(batch) => batch,
            Err(_) if request.ids.iter().all(Option::is_none) => return Ok(()),
            Err(error) => return Err(format!("a body was not read: {error}")),
        };
        match door.submit("simulation", batch) {
            Ok(answer) => self.delivered.push((request, answer)),
            Err(_) => self.under_way.push(request),
        }
        Ok(())
    }

    /// Brings the answers that there are to the shop.
    ///
    /// # Errors
    /// What must not be answered.
    pub(crate) fn answer(&mut self, shop: &mut Shop, random: &mut Random) -> Result<(), String> {
        for (request, mut answer) in std::mem::take(&mut self.delivered) {
            match answer.try_recv() {
                Err(TryRecvError::Empty) => self.delivered.push((request, answer)),
                Ok(Ok(_)) if random.random_bool(0.06) => {
                    self.occurred.push("answer_lost");
                    self.under_way.push(request);
                }
                Ok(Ok(outcomes)) => shop.told(&request, &outcomes)?,
                Ok(Err(_)) | Err(TryRecvError::Closed) => self.under_way.push(request),
            }
        }
        Ok(())
    }

    /// The process has ended: what it did not answer is sent again.
    pub(crate) fn cut(&mut self) {
        self.under_way.extend(self.delivered.drain(..).map(|(request, _)| request));
    }
}

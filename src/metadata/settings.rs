use super::dialect::Sql;
use super::transaction::Columns;
use super::{Error, Metadata};

static GET: Sql = Sql::new(&["SELECT value FROM settings WHERE name = $1"]);
static INSERT_AND_GET: Sql = Sql::new(&[
    "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
    "SELECT value FROM settings WHERE name = $1",
]);
static PUT: Sql = Sql::new(&["INSERT INTO settings (name, value) VALUES ($1, $2)
     ON CONFLICT (name) DO UPDATE SET value = excluded.value"]);

/// What is made once and then stays: the registry's id, a generated secret.
impl Metadata {
    /// The setting's value.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn setting(&self, name: &'static str) -> Result<Option<String>, Error> {
        let row = self.read_one("setting", &GET, &[name.into()]).await?;
        row.map(|row| row.text(0).map(str::to_owned)).transpose()
    }

    /// The setting's value, which is this one if there was none: of several
    /// replicas that start together one wins, and all get its value.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn setting_or_insert(&self, name: &'static str, value: String) -> Result<String, Error> {
        self.write("setting_or_insert", (name, value), |tx, (name, value)| {
            Box::pin(async move {
                let row = tx.one(&INSERT_AND_GET, &[(*name).into(), value.as_str().into()]).await?;
                row.map_or(Ok(value.clone()), |row| row.text(0).map(str::to_owned))
            })
        })
        .await
    }

    /// Sets the value anew, such as when store and database are paired again.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn set_setting(&self, name: &'static str, value: String) -> Result<(), Error> {
        self.write("set_setting", (name, value), |tx, (name, value)| {
            Box::pin(async move { tx.run(&PUT, &[(*name).into(), value.as_str().into()]).await.map(drop) })
        })
        .await
    }
}
